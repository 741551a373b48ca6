/** Translate: why did this word come out? Source above, translation below, and the weight between them. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { change, choice, integer, optional, text } from '../address.ts';
import { post, useAnswer, useInfo, useModels, type Alignment, type Candidate, type Forced, type Model, type Request, type Sentence, type Translation } from '../api.ts';
import { diverging, SCALES, sequential, type ScaleName } from '../colour.ts';
import { useExportable, type DataTable } from '../export/exportable.ts';
import { Stack } from '../export/svg.tsx';
import { number, percent } from '../format.ts';
import { useKeys } from '../keyboard.ts';
import { palette, type Palette } from '../theme.ts';
import { Legend, Segmented, Select, Slider, Waiting } from '../ui/controls.tsx';
import { clearFocus, focused, hover, pin, pins, rowsOf, type Place } from '../ui/focus.ts';
import { Heat, heatSize } from '../ui/heat.tsx';
import { Refusal } from '../ui/refusal.tsx';
import { WordKeys } from '../ui/words.tsx';
import { Funnel, funnelSize, layout, Ribbons, ribbonsSize, type Links } from './ribbons.tsx';
import { heaviest, untouched } from './share.ts';

const written = optional('text');
const modelParam = text('model');
const besideParam = text('beside');
const readingParam = text('reading');
const picture = choice('picture', ['ribbons', 'heat'] as const);
const share = integer('share', 70, 50, 100);
const sentenceParam = integer('sentence', 0);
const candidateParam = integer('candidate', 0);
const nBest = integer('nbest', 4, 1, 20);
const beam = integer('beam', 5, 1, 32);
const compare = choice('compare', ['own', 'same', 'difference'] as const);
/** Forced looks, as `step:word`, and the tokens before the first of them. */
const forceParam = text('force');
const prefixParam = text('prefix');
/** The candidate that was forced. */
const fromParam = integer('from', 0);
const scaleParam = choice<ScaleName>('scale', SCALES);

/** Something to begin with, in languages that the models are likely to read. */
const EXAMPLES: Record<string, string> = {
  de: 'Der kleine Hund schläft heute unter dem alten Tisch.',
  en: 'The little dog is sleeping under the old table today.',
  fr: 'Le petit chien dort aujourd’hui sous la vieille table.',
  es: 'El perro pequeño duerme hoy debajo de la vieja mesa.',
};

/** What belongs to one translation, and goes with it. */
const AFRESH = { pin: null, force: null, prefix: null, from: null, candidate: null };

const forces = () => forceParam.value.split(',').map((f) => f.split(':').map(Number)).filter((f) => f.length === 2 && f.every(Number.isInteger)).map(([step, source_word]) => ({ step, source_word }));

export function readingLabel(reading: string): string {
  const shift = reading.endsWith('+shift');
  const base = reading.replace('+shift', '');
  const [, layer, head] = base.match(/^layer:(\d+)(?:,head:(\d+))?$/) ?? [];
  const name = base === 'last' ? 'last layer, mean of its heads' : base === 'mean' ? 'mean of all layers and heads' : head ? `layer ${Number(layer) + 1}, head ${Number(head) + 1}` : `layer ${Number(layer) + 1}, mean of its heads`;
  return shift ? `${name}, one word later` : name;
}

export const modelLabel = (m: Model) => `${m.name}${m.source && m.target ? ` (${m.source.code} → ${m.target.code})` : ''}`;

const ARCHITECTURES: Record<Model['architecture'], string> = { transformer: 'Transformer', rnn: 'recurrent, without attention', rnn_attention: 'recurrent, with attention' };

export function Translate() {
  const info = useInfo();
  const models = useModels();
  const list = models.data?.models ?? [];
  const model = list.find((m) => m.id === modelParam.value) ?? list.find((m) => m.id === models.data?.default) ?? null;
  const beside = list.find((m) => m.id === besideParam.value) ?? null;
  const source = written.value ?? (info.data?.text || (model ? (EXAMPLES[model.source?.code ?? 'de'] ?? EXAMPLES.en) : ''));
  const [draft, setDraft] = useState<string | null>(null);
  const [forcing, setForcing] = useState<number | null | 'choose'>(null);

  useEffect(() => {
    if (draft === null) return;
    const timer = setTimeout(() => submit(draft), 450);
    return () => clearTimeout(timer);
  }, [draft]);
  const submit = (value: string) => {
    setDraft(null);
    if (value !== source) change({ text: value, sentence: null, ...AFRESH });
  };

  const reading = model && model.readings.includes(readingParam.value) ? readingParam.value : undefined;
  const ask = (m: Model | null, own: boolean): Request | null =>
    m && source.trim() ? post('/api/translate', { text: source, model: m.id, n_best: nBest.value, beam: Math.max(beam.value, nBest.value), ...(own && reading ? { reading } : {}) }) : null;
  const translation = useAnswer<Translation>(ask(model, true));
  const sentences = translation.data?.sentences ?? [];
  const at = Math.min(sentenceParam.value, Math.max(0, sentences.length - 1));
  const free: Sentence | null = sentences[at] ?? null;

  const imposed = forces();
  const forced = useAnswer<Forced>(model && free && imposed.length
    ? post('/api/force', { sentence: free.source, model: model.id, n_best: nBest.value, beam: Math.max(beam.value, nBest.value), imposed, ...(reading ? { reading } : {}),
      ...(prefixParam.value ? { prefix_tokens: prefixParam.value.split(',').map(Number).filter(Number.isInteger) } : {}) })
    : null);
  // Until the forced translation is there, the one that it came from stays, and the keyboard's place in it.
  const awaited = imposed.length > 0 && !forced.data;
  const sentence = imposed.length && forced.data ? forced.data.sentence : free;
  const best = sentence ? sentence.candidates[Math.min(awaited ? fromParam.value : candidateParam.value, sentence.candidates.length - 1)] : null;

  const other = useAnswer<Translation>(compare.value === 'own' ? ask(beside, false) : null);
  const sameWords = useAnswer<Forced>(compare.value !== 'own' && beside && free && best ? post('/api/force', { sentence: free.source, model: beside.id, prefix: best.text, n_best: 1, beam: 1 }) : null);
  const otherSentence = compare.value === 'own' ? (other.data?.sentences[at] ?? null) : (sameWords.data?.sentence ?? null);
  const otherBest = otherSentence?.candidates[0] ?? null;

  const pick = (place: Place, add: boolean) => {
    if (forcing === 'choose' && place[0] === 'r') {
      setForcing(Number(place.slice(1)));
      pin(place, false);
    } else if (typeof forcing === 'number' && place[0] === 'c' && best) {
      force(best, forcing, Number(place.slice(1)));
      setForcing(null);
    } else pin(place, add);
  };
  const force = (candidate: Candidate, targetWord: number, sourceWord: number) => {
    const step = candidate.tokens.findIndex((t) => t.word === targetWord);
    if (step < 0) return;
    const kept = imposed.filter((f) => f.step < step);
    const first = kept.length ? kept[0].step : step;
    change({
      force: [...kept, { step, source_word: sourceWord }].map((f) => `${f.step}:${f.source_word}`).join(','),
      prefix: candidate.tokens.slice(0, first).map((t) => t.id).join(',') || null,
      from: String(imposed.length ? fromParam.value : candidateParam.value),
      pin: null, candidate: null,
    }, true);
  };
  const release = () => {
    setForcing(null);
    change({ force: null, prefix: null, from: null, candidate: fromParam.value ? String(fromParam.value) : null });
  };
  useKeys('Translate', [
    { keys: ['f'], does: 'force a word to look elsewhere: first the target word, then the source word', run: () => setForcing(forcing === null ? 'choose' : null) },
    { keys: ['h'], does: 'ribbons or heat map', run: () => (picture.value = picture.value === 'heat' ? 'ribbons' : 'heat') },
    { keys: ['/'], does: 'to the text', run: () => document.querySelector<HTMLTextAreaElement>('#source')?.focus() },
    { keys: ['Escape'], does: 'clear what is pinned', run: () => { clearFocus(); setForcing(null); } },
  ]);

  const shownText = best && (imposed.length || sentences.length === 1) ? best.text : (translation.data?.text ?? '');

  const sides: Side[] = sentence && best && model ? [{ model, sentence, candidate: best }] : [];
  if (beside && otherSentence && otherBest) sides.push({ model: beside, sentence: otherSentence, candidate: otherBest });
  const difference = compare.value === 'difference' && sides.length === 2 ? differenceOf(sides[0].candidate, sides[1].candidate) : null;

  useExportable(sides.length === 0 ? null : {
    name: 'translation',
    title: `heedful: ${sides[0].sentence.source} → ${sides[0].candidate.text}`,
    picture: (p) => <Picture sides={sides} difference={difference} palette={p} />,
    tables: () => sides.flatMap(tablesOf),
    data: () => ({ sides: sides.map((s) => ({ model: s.model.id, sentence: s.sentence, shown: s.candidate })), imposed }),
  });

  if (models.error) return <Refusal answer={models} />;
  if (!model) return <Waiting>Loading the models …</Waiting>;
  const option = (m: Model) => ({ value: m.id, label: modelLabel(m) });
  return (
    <div class="translate">
      <div class="translate-texts">
        <label class="field grow">
          <span class="label">Text{model.source && ` (${model.source.name})`}</span>
          <textarea id="source" rows={3} lang={model.source?.code} value={draft ?? source} maxLength={info.data?.limits.text_bytes} onInput={(e) => setDraft(e.currentTarget.value)}
            onKeyDown={(e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) submit(e.currentTarget.value); }} />
        </label>
        <div class="field grow">
          <span class="label">Translation{model.target && ` (${model.target.name})`}</span>
          <output class={`translation${translation.waiting || forced.waiting ? ' old' : ''}`} lang={model.target?.code} data-testid="translation">{shownText}</output>
        </div>
      </div>
      <div class="bar">
        <Select label="Model" value={model.id} options={list.map(option)} onChange={(id) => change({ model: id === models.data!.default ? null : id, reading: null, ...AFRESH })} />
        {list.length > 1 && <Select label="Beside it" value={beside?.id ?? ''} options={[{ value: '', label: 'nothing' }, ...list.filter((m) => m !== model && m.source?.code === model.source?.code).map(option)]} onChange={(id) => change({ beside: id || null, compare: null })} />}
        {beside && <Segmented label="Compare" value={compare.value} options={[{ value: 'own', label: 'own translations' }, { value: 'same', label: 'same words', hint: 'The second model is made to say what the first one said' }, { value: 'difference', label: 'difference' }]} onChange={(v) => (compare.value = v)} />}
        {model.readings.length > 1 && <Select label="Layer and head" value={reading ?? ''} options={[{ value: '', label: `best for this model: ${readingLabel(model.reading ?? 'mean')}` }, ...model.readings.map((value) => ({ value, label: readingLabel(value) }))]} onChange={(value) => (readingParam.value = value)} />}
        {compare.value !== 'difference' && <Segmented label="Picture" value={picture.value} options={[{ value: 'ribbons', label: 'ribbons' }, { value: 'heat', label: 'heat map' }]} onChange={(v) => (picture.value = v)} />}
        {compare.value !== 'difference' && (picture.value === 'ribbons' ? <Slider label="Weight shown" value={share.value} least={50} most={100} shown={`${share.value} %`} onChange={(v) => (share.value = v)} />
          : <Select label="Colours" value={scaleParam.value} options={SCALES.map((value) => ({ value, label: value }))} onChange={(v) => (scaleParam.value = v)} />)}
        <button type="button" aria-pressed={forcing !== null} disabled={!best?.alignment} onClick={() => setForcing(forcing === null ? 'choose' : null)} title="Make a target word look at a source word, and see the translation change (f)">Force…</button>
        {imposed.length > 0 && <button type="button" onClick={release}>Let go</button>}
      </div>
      {forcing !== null && <p class="hint" role="status">{forcing === 'choose' ? 'Choose a word of the translation.' : `Now choose the source word that “${best?.words[forcing]}” shall look at.`} Escape stops.</p>}
      {imposed.length > 0 && sentence && forced.data && <ForcedNote forced={forced.data} before={free?.candidates[fromParam.value]?.text ?? free?.candidates[0].text ?? ''} />}
      {(translation.error || forced.error) && <Refusal answer={translation.error ? translation : forced} />}
      {sentences.length > 1 && (
        <ol class="sentences" aria-label="Sentences">
          {sentences.map((s, i) => <li key={i}><button type="button" aria-current={i === at ? 'true' : undefined} onClick={() => change({ sentence: i ? String(i) : null, ...AFRESH })}>{s.source}</button></li>)}
        </ol>
      )}
      <div class={sides.length === 2 && !difference ? 'two-up' : ''}>
        {difference
          ? <section class="panel"><h3>{sides[0].model.name} minus {sides[1].model.name}</h3><DifferenceView links={linksOf(sides[0])!} difference={difference} pick={pick} /></section>
          : sides.map((side) => <SideView key={side.model.id} side={side} pick={pick} />)}
      </div>
      {compare.value === 'difference' && sides.length === 2 && !difference && <p class="hint">There is no difference to show: one of the two has no attention, or the second model does not take the first one's words.</p>}
      {!source.trim() && <p class="hint" role="status">Type a sentence{model.source && ` in ${model.source.name}`}: its translation appears as you type, with what each word looked at.</p>}
      {translation.waiting && !translation.data && <Waiting>Translating …</Waiting>}
      {sentence && <Candidates sentence={sentence} chosen={best} />}
    </div>
  );
}

interface Side {
  model: Model;
  sentence: Sentence;
  candidate: Candidate;
}

function linksOf({ sentence, candidate }: Side): Links | null {
  const a = candidate.alignment;
  return a && { source: sentence.words, target: candidate.words, weights: a.weights, coverage: a.coverage, probabilities: candidate.probabilities };
}

/** First minus second, where both said the same words. */
function differenceOf(a: Candidate, b: Candidate): number[][] | null {
  if (!a.alignment || !b.alignment || !a.words.every((w, i) => b.words[i] === w)) return null;
  return a.alignment.weights.map((row, r) => row.map((w, c) => w - b.alignment!.weights[r][c]));
}

function SideView({ side, pick }: { side: Side; pick: (place: Place, add: boolean) => void }) {
  const { model, sentence, candidate } = side;
  const links = linksOf(side);
  return (
    <section class="panel side" aria-label={model.name}>
      <header><h3>{model.name}</h3><span class="kind">{ARCHITECTURES[model.architecture]}</span></header>
      {links
        ? <LinksView links={links} alignment={candidate.alignment!} pick={pick} />
        : (
          <>
            <p class="hint">Nothing to look into: this model has no attention. The encoder hands over one hidden state, and every word of the translation is made from that alone.</p>
            <div class="scroll"><Funnel source={sentence.words} target={candidate.words} palette={palette.value} live /></div>
          </>
        )}
    </section>
  );
}

function LinksView({ links, alignment, pick }: { links: Links; alignment: Alignment; pick: (place: Place, add: boolean) => void }) {
  const shown = useMemo(() => heaviest(links.weights, share.value / 100), [links.weights, share.value]);
  const at = useMemo(() => layout(links, shown), [links.source, links.target, shown]);
  const p = palette.value;
  const heat = useMemo(() => heatColours(p, scaleParam.value), [p, scaleParam.value]);
  const outside = alignment.outside.reduce((a, b) => a + b, 0) / Math.max(1, alignment.outside.length);
  const leftOut = links.source.filter((_, i) => untouched(links.weights, i));
  return (
    <>
      <WordKeys label="Words and weights" onPick={pick} onWide={picture.value === 'ribbons' ? () => (picture.value = 'heat') : undefined}>
        {picture.value === 'ribbons'
          ? <Ribbons links={links} at={at} palette={p} focus={focused.value} title="Source above, translation below" onHover={hover} onPick={pick} />
          : <Heat rows={links.target} columns={links.source} values={links.weights} colour={heat.colour} sums={{ label: 'coverage', values: links.coverage, colour: heat.sum }} palette={p} title="Attention weights" focus={focused.value} onHover={hover} onPick={pick} />}
      </WordKeys>
      <p class="reading">
        {picture.value === 'ribbons' ? <span>Hidden: {percent(shown.hidden)} of the weight.</span> : <Legend label="weight" from={0} to={1} colour={heat.colour} />}
        {outside >= 0.005 && <span>On no word (the end of the sentence): {percent(outside)}.</span>}
        <span>{leftOut.length ? `Hardly looked at: ${some(leftOut)}.` : 'Every source word was looked at.'}</span>
        <FocusNote links={links} />
      </p>
    </>
  );
}

/** Words in quotes, as many as can be read. */
function some(words: readonly string[], most = 12): string {
  const list = words.slice(0, most).map((word) => `“${word}”`).join(', ');
  return words.length > most ? `${list} and ${words.length - most} more` : list;
}

/** The numbers of what is focused, in words. */
function FocusNote({ links }: { links: Links }) {
  const rows = rowsOf(focused.value).filter((r) => r < links.target.length);
  if (!rows.length) return null;
  const sums = links.source.map((word, c) => ({ word, weight: rows.reduce((s, r) => s + links.weights[r][c], 0) })).sort((a, b) => b.weight - a.weight).slice(0, 3);
  return <strong>{rows.map((r) => `“${links.target[r]}”`).join(' + ')} looks at {sums.map((s) => `“${s.word}” ${number(s.weight, 2)}`).join(', ')}{pins.value.length > 1 ? ' (sum)' : ''}</strong>;
}

const heatColours = (p: Palette, scale: ScaleName) => {
  const colour = sequential(scale, p);
  return { colour, sum: (x: number) => colour(x / 1.5) };
};

function DifferenceView({ links, difference, pick }: { links: Links; difference: number[][]; pick: (place: Place, add: boolean) => void }) {
  const p = palette.value;
  const colour = useMemo(() => diverging({ ...p, negative: p.k }, p.q), [p]);
  return (
    <>
      <WordKeys label="Difference of weights" onPick={pick}>
        <Heat rows={links.target} columns={links.source} values={difference} colour={colour} palette={p} title="Difference of attention weights" focus={focused.value} onHover={hover} onPick={pick} />
      </WordKeys>
      <p class="reading"><Legend label="more in the second" from={-1} to={1} colour={(t) => colour(t * 2 - 1)} /><span>more in the first</span></p>
    </>
  );
}

function ForcedNote({ forced, before }: { forced: Forced; before: string }) {
  const { sentence, imposed } = forced;
  const best = sentence.candidates[0];
  return (
    <p class="hint" role="status">
      Forced: {imposed.map((f) => {
        const word = best.tokens[f.step]?.word;
        return `${word === null || word === undefined ? `step ${f.step + 1}` : `“${best.words[word]}”`} looks at “${sentence.words[f.source_word]}”${f.weight === null ? '' : ` (weight ${number(f.weight, 2)}, mean of all heads)`}`;
      }).join('; ')}. {before === best.text ? 'The words stay the same.' : `Without it: ${before}`}
    </p>
  );
}

function Candidates({ sentence, chosen }: { sentence: Sentence; chosen: Candidate | null }) {
  return (
    <section class="candidates">
      <div class="bar">
        <h3>Translations the beam kept</h3>
        <label class="field inline"><span class="label">How many</span><input type="number" min="1" max="20" value={nBest.value} onInput={(e) => (nBest.value = Math.min(20, Math.max(1, Number(e.currentTarget.value) || 1)))} /></label>
        <label class="field inline"><span class="label">Beam</span><input type="number" min="1" max="32" value={beam.value} onInput={(e) => (beam.value = Math.min(32, Math.max(1, Number(e.currentTarget.value) || 1)))} /></label>
      </div>
      <ol>
        {sentence.candidates.map((c, i) => (
          <li key={i}>
            <button type="button" aria-current={c === chosen ? 'true' : undefined} onClick={() => change({ candidate: i ? String(i) : null, pin: null })}>
              <span class="candidate-text">
                {c.words.map((word, w) => <span key={w} class="word" title={`${word}: ${percent(c.probabilities[w], 1)}`}><span>{word}</span><meter min="0" max="1" value={c.probabilities[w]} aria-label={`probability of ${word}`} /></span>)}
              </span>
              <span class="number" title="Log-probability after normalisation for length">{number(c.score, 2)}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Picture({ sides, difference, palette: p }: { sides: Side[]; difference: number[][] | null; palette: Palette }) {
  const [first] = sides;
  const title = `${first.sentence.source} → ${first.candidate.text}`;
  const focus = new Set(pins.value);
  if (difference) {
    const links = linksOf(first)!;
    return <Heat rows={links.target} columns={links.source} values={difference} colour={diverging({ ...p, negative: p.k }, p.q)} palette={p} title={title} focus={focus} background />;
  }
  const pictures = sides.map((side) => sidePicture(side, p, focus));
  return pictures.length === 1 ? pictures[0].picture : <Stack pictures={pictures} palette={p} title={title} />;
}

function sidePicture(side: Side, p: Palette, focus: ReadonlySet<Place>) {
  const { sentence, candidate, model } = side;
  const links = linksOf(side);
  const title = `${sentence.source} → ${candidate.text}`;
  if (!links) return { label: model.name, ...funnelSize(sentence.words, candidate.words), picture: <Funnel source={sentence.words} target={candidate.words} palette={p} background /> };
  if (picture.value === 'heat') {
    const heat = heatColours(p, scaleParam.value);
    return {
      label: model.name, ...heatSize(links.target, links.source, true),
      picture: <Heat rows={links.target} columns={links.source} values={links.weights} colour={heat.colour} sums={{ label: 'coverage', values: links.coverage, colour: heat.sum }} palette={p} title={title} focus={focus} background />,
    };
  }
  const at = layout(links, heaviest(links.weights, share.value / 100));
  return { label: model.name, ...ribbonsSize(at), picture: <Ribbons links={links} at={at} palette={p} focus={focus} title={title} background /> };
}

function tablesOf({ model, sentence, candidate }: Side): DataTable[] {
  const tables: DataTable[] = [
    { title: `${model.name}: words and probabilities`, columns: ['word', 'probability'], rows: candidate.words.map((w, i) => [w, candidate.probabilities[i]]) },
    { title: `${model.name}: translations`, columns: ['translation', 'score', 'log-probability'], rows: sentence.candidates.map((c) => [c.text, c.score, c.log_prob]) },
  ];
  const a = candidate.alignment;
  if (a) {
    tables.unshift({ title: `${model.name}: attention weights, translation by source`, columns: ['', ...sentence.words, 'on no word'],
      rows: [...candidate.words.map((w, r): (string | number)[] => [w, ...a.weights[r], a.outside[r]]), ['coverage', ...a.coverage, '']] });
  }
  return tables;
}

