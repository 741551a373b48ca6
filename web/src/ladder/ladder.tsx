/** Ladder: what does attention buy? The report of `heedful compare`: score by length for each rung, and the sentences behind it. */
import { signal } from '@preact/signals';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { change, choice, integer } from '../address.ts';
import { carried, get, provide, useAnswer, useInfo, type Alignment } from '../api.ts';
import { sequential } from '../colour.ts';
import { useExportable, type DataTable } from '../export/exportable.ts';
import { count, number } from '../format.ts';
import { useKeys } from '../keyboard.ts';
import { palette, type Palette } from '../theme.ts';
import { Legend, Problem, Segmented, Waiting } from '../ui/controls.tsx';
import { focused, hover, pin } from '../ui/focus.ts';
import { Heat } from '../ui/heat.tsx';
import { Refusal } from '../ui/refusal.tsx';
import { WordKeys } from '../ui/words.tsx';
import { layout, Ribbons, type Links } from '../translate/ribbons.tsx';
import { heaviest } from '../translate/share.ts';
import { Chart, type Line } from './chart.tsx';
import { Differences } from './differences.tsx';

interface Bucket { words: string; sentences: number; score: number; interval: [number, number] | null }
interface Metric { metric: string; score: number; interval: [number, number] | null; signature: string; by_source_length: Bucket[] }
interface Rung {
  name: string; parameters: number; updates: number; epochs: number; tokens: number; scores: Metric[];
  time: { minutes: number; cpu_minutes: number; tokens_per_second: number; translation_seconds: number };
  curve: { update: number; seconds: number; cpu_seconds: number; loss: number; bleu: number; chrf: number }[];
}
export interface Difference { first: string; second: string; metric: string; words: string | null; difference: number; interval: [number, number]; p_value: number }
interface Shown { source: string; reference: string | null; words: number; origin: string; source_words: string[]; translations: { rung: string; text: string; target_words: string[]; alignment: Alignment | null }[] }
interface Report {
  corpus: { training_pairs: number; test_sentences: number; tested_on_validation: boolean; source_language: string; target_language: string; vocabulary: number };
  seed: number; rungs: Rung[]; differences: Difference[]; sentences: Shown[]; findings: string[];
}

/** The report that was opened here: no server has it, so a saved page carries it under a name of its own. */
const OPENED = get('opened report');
const opened = signal((carried(OPENED) as Report | undefined) ?? null);

const metric = choice('metric', ['BLEU', 'chrF'] as const);
const bucketParam = integer('bucket', -1, -1);

const metricOf = (rung: Rung, name: string) => rung.scores.find((s) => s.metric.startsWith(name));

/** `11-20` or `41+` as a test for a length. */
function inside(words: string): (n: number) => boolean {
  const [, low, high] = words.match(/^(\d+)(?:[-–](\d+)|\+)?$/) ?? [];
  const [from, to] = [Number(low), high ? Number(high) : words.endsWith('+') ? Infinity : Number(low)];
  return (n) => n >= from && n <= to;
}

export function Ladder() {
  const info = useInfo();
  const served = useAnswer<Report>(info.data?.report ? get('/api/report') : null);
  const [wrong, setWrong] = useState<string | null>(null);
  const report = opened.value ?? served.data;
  useEffect(() => (opened.value ? provide(OPENED, opened.value) : undefined), [opened.value]);

  const read = async (file: File | undefined) => {
    if (!file) return;
    try {
      const parsed = JSON.parse(await file.text()) as Report;
      if (!Array.isArray(parsed.rungs) || !Array.isArray(parsed.sentences)) throw new Error('there are no rungs in it');
      opened.value = parsed;
      change({ bucket: null, pin: null });
      setWrong(null);
    } catch (error) {
      setWrong(`${file.name} is not a report of heedful compare: ${error instanceof Error ? error.message : error}.`);
    }
  };
  const opener = (
    <label class="field"><span class="label">Open a report.json</span><input type="file" accept=".json,application/json" onChange={(e) => void read(e.currentTarget.files?.[0])} /></label>
  );
  if (info.error) return <Refusal answer={info} />;
  if (served.error && !opened.value) return <Refusal answer={served} />;
  if (!report) {
    return info.data && !info.data.report ? (
      <section class="panel empty">
        <h2>There is no report yet</h2>
        <p>The ladder shows the same data learnt three ways: a recurrent network without attention, one with attention, and a Transformer, on a clock of equal length. Make a report with <code>heedful compare</code>, and start the explorer with it: <code>heedful explore --report comparison</code>. Or open one here; it stays on this computer.</p>
        {opener}
        {wrong && <Problem>{wrong}</Problem>}
      </section>
    ) : <Waiting>Loading the report …</Waiting>;
  }
  return <ReportView report={report} opener={opener} wrong={wrong} />;
}

function ReportView({ report, opener, wrong }: { report: Report; opener: preact.ComponentChildren; wrong: string | null }) {
  const names = useMemo(() => [...new Set(report.rungs.flatMap((r) => r.scores.flatMap((s) => s.by_source_length.map((b) => b.words))))].sort((a, b) => parseInt(a) - parseInt(b)), [report]);
  const chosen = bucketParam.value >= 0 && bucketParam.value < names.length ? bucketParam.value : null;
  const choose = (i: number) => (bucketParam.value = i === chosen ? -1 : i);
  useKeys('Ladder', [
    { keys: ['ArrowRight'], does: 'next length', run: () => (bucketParam.value = Math.min(names.length - 1, (chosen ?? -1) + 1)) },
    { keys: ['ArrowLeft'], does: 'length before', run: () => (bucketParam.value = Math.max(0, (chosen ?? 1) - 1)) },
    { keys: ['m'], does: 'BLEU or chrF', run: () => (metric.value = metric.value === 'BLEU' ? 'chrF' : 'BLEU') },
    { keys: ['Escape'], does: 'all lengths', run: () => (bucketParam.value = -1) },
  ]);
  useExportable({
    name: 'ladder', title: `heedful: ${metric.value} by sentence length`,
    picture: (p) => <ByLength report={report} names={names} palette={p} chosen={null} background />,
    tables: () => tables(report, names),
    data: () => ({ report }),
  });
  const sentences = report.sentences.filter((s) => chosen === null || inside(names[chosen])(s.words));
  const growth = report.rungs.map((r): Line => ({ name: r.name, points: r.curve.map((c) => ({ x: c.seconds / 60, y: metric.value === 'BLEU' ? c.bleu : c.chrf })) }));
  return (
    <div class="ladder">
      <div class="bar">
        <Segmented label="Score" value={metric.value} options={[{ value: 'BLEU', label: 'BLEU' }, { value: 'chrF', label: 'chrF' }]} onChange={(v) => (metric.value = v)} />
        {opener}
      </div>
      {wrong && <Problem>{wrong}</Problem>}
      <div class="ladder-body">
        <div class="ladder-left">
        <section class="panel">
          <h2>Score by sentence length</h2>
          <p class="hint">Choose a length to read its sentences. The bars say where the score lies in 95 of 100 test sets drawn anew.</p>
          <div class="scroll" data-arrows onKeyDown={(e) => bucketKeys(e, names.length, choose)}>
            <ByLength report={report} names={names} palette={palette.value} chosen={chosen} onChoose={choose} />
          </div>
          {chosen !== null && <p class="hint" role="status"><button type="button" class="link" onClick={() => { document.getElementById('sentences')?.focus(); }}>Read {count(sentences.length, 'sentence')} of {names[chosen]} words</button></p>}
        </section>
        <Differences differences={report.differences.filter((d) => d.metric.startsWith(metric.value))} metric={metric.value} names={names} chosen={chosen} choose={choose} />
        </div>
        <section class="panel findings">
          <h2>What the numbers show</h2>
          <ul>{report.findings.map((f) => <li key={f}>{f}</li>)}</ul>
        </section>
      </div>
      <section>
        <h2 id="sentences" tabIndex={-1}>{chosen === null ? 'Sentences of all lengths' : `Sentences of ${names[chosen]} words`}</h2>
        {sentences.length === 0 && <p class="hint">The report shows no sentence of this length.</p>}
        {sentences.map((s) => <SentenceView key={s.source} sentence={s} />)}
      </section>
      <div class="ladder-body">
        <section class="panel">
          <h2>Growth on the clock</h2>
          <p class="hint">Score on the validation sentences (greedy) by minutes of training.</p>
          <div class="scroll"><Chart lines={growth} xLabel="minutes" yLabel={metric.value} palette={palette.value} title="Score by minutes of training" /></div>
        </section>
        <section class="panel">
          <h2>The rungs</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label="The rungs">
            <table class="numbers">
              <thead><tr>{['', metric.value, 'parameters', 'updates', 'epochs', 'minutes', 'tokens/s'].map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
              <tbody>
                {report.rungs.map((r) => (
                  <tr key={r.name}><th scope="row">{r.name}</th><td>{number(metricOf(r, metric.value)?.score ?? NaN, 1)}</td><td>{r.parameters.toLocaleString('en')}</td><td>{r.updates.toLocaleString('en')}</td><td>{number(r.epochs, 1)}</td><td>{number(r.time.minutes, 1)}</td><td>{Math.round(r.time.tokens_per_second).toLocaleString('en')}</td></tr>
                ))}
              </tbody>
            </table>
          </div>
          <p class="hint">{count(report.corpus.training_pairs, 'training pair')}, {count(report.corpus.test_sentences, 'test sentence')}, vocabulary {report.corpus.vocabulary.toLocaleString('en')}, seed {report.seed}.</p>
        </section>
      </div>
    </div>
  );
}

function bucketKeys(e: KeyboardEvent, buckets: number, choose: (i: number) => void) {
  const here = (e.target as Element).closest<SVGGElement>('[data-bucket]');
  if (!here) return;
  const i = Number(here.dataset.bucket);
  const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
  if (e.key === 'Enter' || e.key === ' ') {
    e.preventDefault();
    e.stopPropagation();
    choose(i);
  } else if (step) {
    e.preventDefault();
    here.closest('svg')?.querySelector<SVGGElement>(`[data-bucket="${Math.min(buckets - 1, Math.max(0, i + step))}"]`)?.focus();
  }
}

function ByLength({ report, names, palette: p, chosen, onChoose, background }: { report: Report; names: string[]; palette: Palette; chosen: number | null; onChoose?: (i: number) => void; background?: boolean }) {
  const lines = report.rungs.map((r): Line => ({
    name: r.name,
    points: (metricOf(r, metric.value)?.by_source_length ?? []).map((b) => ({ x: names.indexOf(b.words), y: b.score, low: b.interval?.[0], high: b.interval?.[1] })),
  }));
  const sizes = new Map(report.rungs.flatMap((r) => metricOf(r, metric.value)?.by_source_length ?? []).map((b) => [b.words, b.sentences]));
  return <Chart lines={lines} ticks={names.map((label) => ({ label, note: count(sizes.get(label) ?? 0, 'sentence') }))} xLabel="words in the source sentence" yLabel={metric.value} palette={p} title={`${metric.value} by sentence length`} chosen={chosen} onChoose={onChoose} background={background} />;
}

function SentenceView({ sentence }: { sentence: Shown }) {
  const [open, setOpen] = useState<string | null>(null);
  return (
    <article class="panel sentence">
      <p class="sentence-source">{sentence.source}</p>
      <p class="hint">{count(sentence.words, 'word')}; {sentence.origin}.</p>
      <dl>
        {sentence.reference && <div><dt>reference</dt><dd>{sentence.reference}</dd></div>}
        {sentence.translations.map((t) => (
          <div key={t.rung}>
            <dt>{t.rung}</dt>
            <dd>
              {t.text}
              {t.alignment
                ? <button type="button" class="small" aria-expanded={open === t.rung} onClick={() => setOpen(open === t.rung ? null : t.rung)}>where it looked</button>
                : <span class="hint"> (no attention: nothing to look into)</span>}
            </dd>
            {open === t.rung && t.alignment && <div class="looked"><Looked links={{ source: sentence.source_words, target: t.target_words, weights: t.alignment.weights, coverage: t.alignment.coverage, probabilities: null }} /></div>}
          </div>
        ))}
      </dl>
    </article>
  );
}

/** So many words are shown as ribbons first; of more, a heat map, which has room for them. */
const MOST_RIBBONS = 26;

function Looked({ links }: { links: Links }) {
  const [shown, setShown] = useState<'ribbons' | 'heat'>(Math.max(links.source.length, links.target.length) > MOST_RIBBONS ? 'heat' : 'ribbons');
  const at = useMemo(() => layout(links, heaviest(links.weights, 0.7)), [links.source, links.target]);
  const p = palette.value;
  const colour = useMemo(() => sequential('purple', p), [p]);
  return (
    <>
      <Segmented label="Picture" hideLabel value={shown} options={[{ value: 'ribbons', label: 'ribbons' }, { value: 'heat', label: 'heat map' }]} onChange={setShown} />
      <WordKeys label="Words and weights" onPick={pin} onWide={shown === 'ribbons' ? () => setShown('heat') : undefined}>
        {shown === 'ribbons'
          ? <Ribbons links={links} at={at} palette={p} focus={focused.value} title="Where it looked" onHover={hover} onPick={pin} />
          : <Heat rows={links.target} columns={links.source} values={links.weights} colour={colour} palette={p} title="Where it looked" focus={focused.value} onHover={hover} onPick={pin} />}
      </WordKeys>
      {shown === 'heat' && <p class="reading"><Legend label="weight" from={0} to={1} colour={colour} /><span>Source words above, the translation downwards.</span></p>}
    </>
  );
}

function tables(report: Report, names: string[]): DataTable[] {
  const scores = ['BLEU', 'chrF'].map((m): DataTable => ({
    title: `${m} by words in the source sentence`,
    columns: ['rung', 'all', ...names],
    rows: report.rungs.map((r) => [r.name, metricOf(r, m)?.score ?? '', ...names.map((n) => metricOf(r, m)?.by_source_length.find((b) => b.words === n)?.score ?? '')]),
  }));
  return [...scores,
    { title: 'Differences', columns: ['second minus first', 'metric', 'words', 'difference', 'low', 'high', 'p'], rows: report.differences.map((d) => [`${d.second} − ${d.first}`, d.metric, d.words ?? 'all', d.difference, ...d.interval, d.p_value]) },
    { title: 'Sentences', columns: ['source', 'reference', ...report.rungs.map((r) => r.name)], rows: report.sentences.map((s) => [s.source, s.reference ?? '', ...report.rungs.map((r) => s.translations.find((t) => t.rung === r.name)?.text ?? '')]) },
  ];
}
