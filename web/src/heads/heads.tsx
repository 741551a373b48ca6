/** Heads: which head looks where? A grid of all heads, the map of one, and the heaviest keys of a query. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { change, choice, flag, integer, optional, text } from '../address.ts';
import { post, useAnswer, useInfo, useModels, type Attention, type HeadNumbers, type Heads as HeadsAnswer, type Kind, type Model, type Token } from '../api.ts';
import { position, readableOn, SCALES, sequential, type ScaleName } from '../colour.ts';
import { useExportable, type DataTable } from '../export/exportable.ts';
import { count, number, percent } from '../format.ts';
import { useKeys } from '../keyboard.ts';
import { palette, type Palette } from '../theme.ts';
import { layout, Ribbons, type Links } from '../translate/ribbons.tsx';
import { heaviest } from '../translate/share.ts';
import { modelLabel } from '../translate/translate.tsx';
import { Legend, Segmented, Select, Slider, Toggle, Waiting } from '../ui/controls.tsx';
import { clearFocus, focused, hover, pin, pins, rowsOf, type Place } from '../ui/focus.ts';
import { Heat } from '../ui/heat.tsx';
import { Refusal } from '../ui/refusal.tsx';
import { WordKeys } from '../ui/words.tsx';
import { ASIDE, asideColumns, prepare, tokenLabel, type Aside } from './weights.ts';

const written = optional('text');
const target = text('target');
const modelParam = text('model');
const kindParam = choice('kind', ['encoder', 'decoder', 'cross'] as const);
const layer = integer('layer', 1, 1);
const head = integer('head', 1, 1);
const measure = choice('by', ['entropy', 'largest', 'distance', 'first', 'last', 'received'] as const);
const aside = choice<Aside>('aside', ASIDE);
const renormalise = flag('renormalise');
const logarithmic = flag('log');
const scale = choice<ScaleName>('scale', SCALES);
const picture = choice('picture', ['map', 'ribbons'] as const);
const share = integer('share', 70, 50, 100);
const cells = choice('cells', ['numbers', 'maps'] as const);

const EXAMPLES: Record<string, string> = {
  de: 'Der Mann, der gestern den Hund gesehen hat, geht heute mit ihm in den Park.',
  en: 'The man who saw the dog yesterday is walking with it in the park today.',
};

interface Measure {
  label: string;
  hint: string;
  /** `without` are the columns that are set aside. */
  of: (n: HeadNumbers, h: HeadsAnswer, without: readonly number[]) => number | null;
  /** The largest that it can be; else the largest in the grid. */
  most?: (h: HeadsAnswer) => number;
}

type MeasureId = typeof measure.value;

const MEASURES: Record<MeasureId, Measure> = {
  entropy: { label: 'entropy', hint: 'In nats: 0 when each query looks at one token, larger the more it spreads', of: (n) => n.entropy, most: (h) => Math.log(Math.max(2, h.keys)) },
  largest: { label: 'largest weight', hint: 'Mean over queries', of: (n) => n.largest, most: () => 1 },
  distance: { label: 'distance', hint: 'How far away the tokens looked at are, in tokens', of: (n) => n.distance },
  first: { label: 'on the first token', hint: 'Weight on the first token, mean over queries', of: (n) => n.first, most: () => 1 },
  last: { label: 'on the last token', hint: 'Weight on the last token (the end of the sentence), mean over queries', of: (n) => n.last, most: () => 1 },
  received: { label: 'largest column sum', hint: 'How much the most looked-at token receives from each query, on average', of: (n, h, without) => Math.max(0, ...n.columns.filter((_, c) => !without.includes(c))) / Math.max(1, h.queries), most: () => 1 },
};

const ASIDE_LABELS: Record<Aside, string> = { nothing: 'nothing', first: 'the first token', special: 'special tokens' };

const KINDS: Record<Kind, string> = { encoder: 'encoder looks at itself', decoder: 'decoder looks at itself', cross: 'decoder looks at the source' };

export function Heads() {
  const info = useInfo();
  const models = useModels();
  const list = (models.data?.models ?? []).filter((m) => m.attention.encoder || m.attention.cross);
  const model = list.find((m) => m.id === modelParam.value) ?? list.find((m) => m.id === models.data?.default) ?? list[0] ?? null;
  const source = written.value ?? (model ? (EXAMPLES[model.source?.code ?? 'de'] ?? EXAMPLES.en) : '');
  const [draft, setDraft] = useState<string | null>(null);
  useEffect(() => {
    if (draft === null) return;
    const timer = setTimeout(() => { setDraft(null); change({ text: draft, pin: null }); }, 450);
    return () => clearTimeout(timer);
  }, [draft]);

  const kinds = (Object.keys(KINDS) as Kind[]).filter((k) => model?.attention[k]);
  const kind = kinds.includes(kindParam.value) ? kindParam.value : kinds[0];
  const shape = model && kind ? model.attention[kind]! : null;
  const [l, h] = shape ? [Math.min(layer.value, shape.layers) - 1, Math.min(head.value, shape.heads) - 1] : [0, 0];
  const base = model && source.trim() ? { model: model.id, source, ...(target.value.trim() ? { target: target.value } : {}) } : null;
  const answer = useAnswer<Attention>(base && kind ? post('/api/attention', { ...base, matrices: [{ kind, layer: l, head: h }] }) : null);
  const data = answer.data;
  const matrix = data?.matrices.find((m) => m.kind === kind && m.layer === l && m.head === h)?.weights ?? data?.matrices[0]?.weights ?? null;
  const shownKind = data?.matrices[0]?.kind ?? kind;

  const [queries, keys] = useMemo((): [Token[], Token[]] => {
    if (!data) return [[], []];
    if (shownKind === 'encoder') return [data.source_tokens, data.source_tokens];
    return [data.target_tokens, shownKind === 'cross' ? data.source_tokens : data.decoder_tokens];
  }, [data, shownKind]);
  const [queryLabels, keyLabels] = useMemo(() => [queries.map(tokenLabel), keys.map(tokenLabel)], [queries, keys]);
  const without = useMemo(() => asideColumns(aside.value, keys), [aside.value, keys]);
  const prepared = useMemo(() => matrix && prepare(matrix, without, renormalise.value), [matrix, without, renormalise.value]);
  const numbers = data && kind ? data[kind] : null;
  const every = kind && shape ? Array.from({ length: shape.layers * shape.heads }, (_, i) => ({ kind, layer: Math.floor(i / shape.heads), head: i % shape.heads })) : [];
  const fits = numbers && info.data ? numbers.queries * numbers.keys * every.length <= info.data.limits.matrix_cells && every.length <= MOST_MAPS : false;
  const all = useAnswer<Attention>(base && cells.value === 'maps' && fits ? post('/api/attention', { ...base, matrices: every }) : null);

  const move = (dl: number, dh: number) => {
    if (!shape) return;
    goTo((l + dl + shape.layers) % shape.layers, (h + dh + shape.heads) % shape.heads);
  };
  useKeys('Heads', [
    { keys: ['['], does: 'head before', run: () => move(0, -1) },
    { keys: [']'], does: 'next head', run: () => move(0, 1) },
    { keys: ['{'], does: 'layer below', run: () => move(-1, 0) },
    { keys: ['}'], does: 'layer above', run: () => move(1, 0) },
    { keys: ['ArrowDown'], does: 'next query', run: () => stepQuery(1, queries.length) },
    { keys: ['ArrowUp'], does: 'query before', run: () => stepQuery(-1, queries.length) },
    { keys: ['l'], does: 'linear or logarithmic colours', run: () => (logarithmic.value = !logarithmic.value) },
    { keys: ['h'], does: 'map or ribbons', run: () => (picture.value = picture.value === 'map' ? 'ribbons' : 'map') },
    { keys: ['/'], does: 'to the text', run: () => document.querySelector<HTMLTextAreaElement>('#source')?.focus() },
    { keys: ['Escape'], does: 'clear what is pinned', run: clearFocus },
  ]);

  const view: HeadPicture | null = prepared && model ? { title: `${model.name}: ${KINDS[shownKind!]}, layer ${l + 1}, head ${h + 1}`, queries: queryLabels, keys: keyLabels, prepared } : null;
  useExportable(!view || !numbers ? null : {
    name: `head-${kind}-${l + 1}-${h + 1}`,
    title: `heedful: ${view.title}`,
    picture: (p) => <Picture view={view} focus={new Set(pins.value)} palette={p} background />,
    tables: () => tables(numbers, view, without),
    data: () => ({ model: model!.id, source, kind, layer: l + 1, head: h + 1, set_aside: aside.value, renormalised: renormalise.value, queries: queryLabels, keys: keyLabels, weights: view.prepared.weights, numbers: numbers.numbers }),
  });

  if (models.error) return <Refusal answer={models} />;
  if (models.data && !model) return <p class="hint">None of the loaded models has attention.</p>;
  if (!model || !kind) return <Waiting>Loading the models …</Waiting>;
  return (
    <div class="heads">
      <div class="translate-texts">
        <label class="field grow"><span class="label">Sentence{model.source && ` (${model.source.name})`}</span>
          <textarea id="source" rows={2} value={draft ?? source} onInput={(e) => setDraft(e.currentTarget.value)} maxLength={info.data?.limits.text_bytes} /></label>
        {kind !== 'encoder' && <label class="field grow"><span class="label">Its translation (left empty: the model's own)</span>
          <textarea rows={2} value={target.value} placeholder={data?.target_words.join(' ')} onInput={(e) => { target.value = e.currentTarget.value; }} /></label>}
      </div>
      <div class="bar">
        {list.length > 1 && <Select label="Model" value={model.id} options={list.map((m: Model) => ({ value: m.id, label: modelLabel(m) }))} onChange={(id) => change({ model: id === models.data!.default ? null : id, layer: null, head: null, pin: null })} />}
        <Segmented label="Who looks at whom" value={kind} options={kinds.map((value) => ({ value, label: KINDS[value] }))} onChange={(value) => change({ kind: value === 'encoder' ? null : value, pin: null })} />
        <Select label="Set aside" value={aside.value} options={ASIDE.map((value) => ({ value, label: ASIDE_LABELS[value] }))} onChange={(v) => (aside.value = v)} />
        {aside.value !== 'nothing' && <Toggle label="rows sum to 1 again" on={renormalise.value} onChange={(on) => (renormalise.value = on)} />}
        <Toggle label="log colours" on={logarithmic.value} onChange={(on) => (logarithmic.value = on)} />
        <Select label="Colours" value={scale.value} options={SCALES.map((value) => ({ value, label: value }))} onChange={(v) => (scale.value = v)} />
        <Segmented label="Picture" value={picture.value} options={[{ value: 'map', label: 'map' }, { value: 'ribbons', label: 'ribbons' }]} onChange={(v) => (picture.value = v)} />
        {picture.value === 'ribbons' && <Slider label="Weight shown" value={share.value} least={50} most={100} shown={`${share.value} %`} onChange={(v) => (share.value = v)} />}
      </div>
      {answer.error && <Refusal answer={answer} />}
      <div class="heads-body">
        <div class="heads-left">
        <section class="panel">
          <div class="panel-head"><h3>All heads</h3>
            {fits && <Segmented label="Cells" hideLabel value={cells.value} options={[{ value: 'numbers', label: 'numbers' }, { value: 'maps', label: 'maps' }]} onChange={(v) => (cells.value = v)} />}
            <Select label="Coloured by" value={measure.value} options={(Object.keys(MEASURES) as MeasureId[]).filter((m) => m !== 'distance' || kind !== 'cross').map((value) => ({ value, label: MEASURES[value].label }))} onChange={(v) => (measure.value = v)} /></div>
          {numbers ? <Grid numbers={numbers} keys={keyLabels} without={without} layer={l} head={h} maps={cells.value === 'maps' ? (all.data?.matrices ?? null) : null} /> : source.trim() ? <Waiting>Looking …</Waiting> : <p class="hint">Type a sentence to see who looks at whom.</p>}
        </section>
        {view && <QueryView view={view} />}
        </div>
        <section class="panel" aria-label="One head">
          {view && <HeadView view={view} />}
        </section>
      </div>
    </div>
  );
}

const goTo = (l: number, h: number) => change({ layer: l ? String(l + 1) : null, head: h ? String(h + 1) : null });

function stepQuery(by: number, count: number) {
  const at = rowsOf(new Set(pins.value))[0];
  const next = at === undefined ? 0 : Math.min(count - 1, Math.max(0, at + by));
  if (next !== at && count) pin(`r${next}`, false);
}

/** The token that each head looks at most, in `layer, head` order: its column. */
function favourites(numbers: HeadsAnswer, without: readonly number[]): (number | null)[][] {
  return numbers.numbers.map((row) => row.map(({ columns }) => {
    const among = columns.map((_, c) => c).filter((c) => !without.includes(c));
    return among.length ? among.reduce((best, c) => (columns[c] > columns[best] ? c : best)) : null;
  }));
}

/** Which tokens are looked at most by how many heads, the most popular first. */
function Popular({ numbers, keys, without }: { numbers: HeadsAnswer; keys: readonly string[]; without: readonly number[] }) {
  const votes = new Map<number, number>();
  for (const column of favourites(numbers, without).flat()) if (column !== null) votes.set(column, (votes.get(column) ?? 0) + 1);
  const order = [...votes].sort((a, b) => b[1] - a[1]);
  if (!order.length) return null;
  const name = (c: number) => `“${keys[c] ?? '…'}”${keys.filter((k) => k === keys[c]).length > 1 ? ` (token ${c + 1})` : ''}`;
  return (
    <p class="reading" data-testid="popular">
      <span>Looked at most{aside.value === 'nothing' ? '' : `, ${ASIDE_LABELS[aside.value]} set aside`}: {order.slice(0, 4).map(([c, n]) => `${name(c)} by ${n}`).join(', ')}{order.length > 4 ? ', …' : ''} of {count(numbers.layers * numbers.heads, 'head')}.</span>
    </p>
  );
}

function Grid({ numbers, keys: labels, without, layer: at, head: chosen, maps }: { numbers: HeadsAnswer; keys: readonly string[]; without: readonly number[]; layer: number; head: number; maps: Attention['matrices'] | null }) {
  const table = useRef<HTMLTableElement>(null);
  const p = palette.value;
  const m = MEASURES[measure.value];
  const values = numbers.numbers.map((row) => row.map((n) => m.of(n, numbers, without)));
  const liked = measure.value === 'received' ? favourites(numbers, without) : null;
  const most = m.most?.(numbers) ?? Math.max(1e-9, ...values.flat().map((v) => v ?? 0));
  const colour = useMemo(() => sequential(scale.value, p), [scale.value, p]);
  const keys = (e: KeyboardEvent) => {
    const [dl, dh] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key] ?? [0, 0];
    if (!dl && !dh) return;
    e.preventDefault();
    const [l, h] = [Math.min(numbers.layers - 1, Math.max(0, at + dl)), Math.min(numbers.heads - 1, Math.max(0, chosen + dh))];
    goTo(l, h);
    table.current?.querySelector<HTMLElement>(`[data-head="${l}.${h}"]`)?.focus();
  };
  return (
    <>
      <div class="scroll" tabIndex={-1}>
        <table class="grid" role="grid" ref={table} onKeyDown={keys} aria-label={`Layers and heads, ${m.label}`}>
          <thead><tr><td />{values[0].map((_, h) => <th key={h} scope="col">{h + 1}</th>)}</tr></thead>
          <tbody>
            {values.map((row, l) => (
              <tr key={l}>
                <th scope="row">layer {l + 1}</th>
                {row.map((value, h) => {
                  const fill = value === null ? p.hidden : colour(value / most);
                  const here = l === at && h === chosen;
                  const map = maps?.find((m) => m.layer === l && m.head === h);
                  return (
                    <td key={h} data-head={`${l}.${h}`} tabIndex={here ? 0 : -1} aria-selected={here} class={here ? 'chosen' : ''} onClick={() => goTo(l, h)}
                      style={{ backgroundColor: fill, color: readableOn(fill) }} aria-label={`layer ${l + 1}, head ${h + 1}: ${value === null ? 'none' : number(value, 2)}${liked ? `, ${labels[liked[l][h] ?? -1] ?? ''}` : ''}`}>
                      {map ? <Thumbnail weights={map.weights} colour={colour} /> : value === null ? '–' : number(value, value >= 10 ? 1 : 2)}
                      {liked && !map && <small>{labels[liked[l][h] ?? -1]}</small>}
                    </td>
                  );
                })}
              </tr>
            )).reverse()}
          </tbody>
        </table>
      </div>
      <p class="reading"><Legend label={m.label} from={0} to={most} colour={colour} /><span>{m.hint}.</span></p>
      <Popular numbers={numbers} keys={labels} without={without} />
    </>
  );
}

/** As many heads as are sent at once. */
const MOST_MAPS = 512;

/** The largest weight; not `Math.max(...)`, which takes no more arguments than the stack has room for. */
const largestOf = (weights: number[][]) => weights.reduce((most, row) => row.reduce((m, w) => Math.max(m, w), most), 1e-9);

/** A head's map, one pixel a weight, as large as a cell. */
function Thumbnail({ weights, colour }: { weights: number[][]; colour: (t: number) => string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [height, width] = [weights.length, weights[0]?.length ?? 0];
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    const largest = largestOf(weights);
    weights.forEach((row, r) => row.forEach((w, c) => {
      context.fillStyle = colour(position(w, largest, logarithmic.value));
      context.fillRect(c, r, 1, 1);
    }));
  }, [weights, colour, logarithmic.value]);
  return <canvas ref={canvas} width={width} height={height} aria-hidden="true" />;
}

interface HeadPicture {
  title: string;
  queries: readonly string[];
  keys: readonly string[];
  prepared: { weights: number[][]; aside: number };
}

const linksOf = ({ queries, keys, prepared }: HeadPicture): Links => ({
  source: keys, target: queries, weights: prepared.weights, probabilities: null,
  coverage: keys.map((_, c) => prepared.weights.reduce((s, row) => s + row[c], 0)),
});

const mapColour = (p: Palette, weights: number[][]) => {
  const largest = largestOf(weights);
  const colour = sequential(scale.value, p);
  return { largest, colour, of: (w: number) => colour(position(w, largest, logarithmic.value)) };
};

function Picture({ view, focus, palette: p, background }: { view: HeadPicture; focus: ReadonlySet<Place>; palette: Palette; background?: boolean }) {
  if (picture.value === 'map') return <Heat rows={view.queries} columns={view.keys} values={view.prepared.weights} colour={mapColour(p, view.prepared.weights).of} palette={p} title={view.title} focus={focus} background={background} />;
  const links = linksOf(view);
  return <Ribbons links={links} at={layout(links, heaviest(links.weights, share.value / 100))} palette={p} focus={focus} title={view.title} background={background} />;
}

function HeadView({ view }: { view: HeadPicture }) {
  const p = palette.value;
  const weights = view.prepared.weights;
  const colours = useMemo(() => mapColour(p, weights), [p, weights, scale.value, logarithmic.value]);
  const links = useMemo(() => linksOf(view), [weights, view.keys, view.queries]);
  const shown = useMemo(() => heaviest(weights, share.value / 100), [weights, share.value]);
  const at = useMemo(() => layout(links, shown), [links, shown]);
  return (
    <>
      <h3>{view.title}</h3>
      <WordKeys label={view.title} onPick={pin}>
        {picture.value === 'map'
          ? <Heat rows={view.queries} columns={view.keys} values={weights} colour={colours.of} palette={p} title={view.title} focus={focused.value} onHover={hover} onPick={pin} />
          : <Ribbons links={links} at={at} palette={p} focus={focused.value} title={view.title} onHover={hover} onPick={pin} />}
      </WordKeys>
      <p class="reading">
        {picture.value === 'map' ? <Legend label="weight" from={logarithmic.value ? colours.largest / 1000 : 0} to={colours.largest} colour={colours.colour} logarithmic={logarithmic.value} decimals={3} /> : <span>Keys above, queries below. Hidden: {percent(shown.hidden)} of the weight.</span>}
        {aside.value !== 'nothing' && <span>Set aside: {ASIDE_LABELS[aside.value]}, {percent(view.prepared.aside, 1)} of the weight; rows {renormalise.value ? 'sum to 1 again' : 'sum to what is left'}.</span>}
      </p>
    </>
  );
}

const CARDS = 8;

/** Where does a token look? Its heaviest keys, and the whole row. */
function QueryView({ view }: { view: HeadPicture }) {
  const rows = rowsOf(focused.value).filter((r) => r < view.queries.length);
  const p = palette.value;
  if (!rows.length) return <p class="hint">Point at a row to see where that token looks; click to keep it, Shift-click to add another.</p>;
  const row = view.keys.map((_, c) => rows.reduce((s, r) => s + view.prepared.weights[r][c], 0));
  const sum = row.reduce((a, b) => a + b, 0);
  const order = row.map((_, c) => c).sort((a, b) => row[b] - row[a]).slice(0, CARDS);
  const largest = Math.max(...row, 1e-9);
  return (
    <section class="panel query" aria-label="Where it looks" data-testid="query">
      <h3>Where does {rows.map((r) => `“${view.queries[r]}”`).join(' + ')} look?</h3>
      <div class="strip" aria-hidden="true">
        {row.map((w, c) => <span key={c} style={{ height: `${Math.max(2, position(w, largest, logarithmic.value) * 48)}px`, backgroundColor: order.includes(c) ? p.weight : p.line }} title={`${view.keys[c]} ${number(w, 3)}`} />)}
      </div>
      <ol class="cards">
        {order.map((c) => (
          <li key={c}>
            <span class="number">{number(row[c], 3)}</span>
            <meter min="0" max={sum || 1} value={row[c]} aria-label={`weight of ${view.keys[c]}`} />
            <span class="card-context">{view.keys.slice(Math.max(0, c - 2), c).join(' ')} <strong>{view.keys[c]}</strong> {view.keys.slice(c + 1, c + 3).join(' ')}</span>
            <span class="place">token {c + 1}</span>
          </li>
        ))}
      </ol>
      <p class="reading">All others together: {number(Math.max(0, sum - order.reduce((s, c) => s + row[c], 0)), 3)}.</p>
    </section>
  );
}

function tables(numbers: HeadsAnswer, view: HeadPicture, without: readonly number[]): DataTable[] {
  const heads = Array.from({ length: numbers.heads }, (_, h) => `head ${h + 1}`);
  const grids = (Object.keys(MEASURES) as MeasureId[]).map((id): DataTable => ({
    title: `All heads: ${MEASURES[id].label}`, columns: ['', ...heads],
    rows: numbers.numbers.map((row, l) => [`layer ${l + 1}`, ...row.map((n) => MEASURES[id].of(n, numbers, without) ?? '')]),
  }));
  grids.push({ title: 'All heads: the token looked at most', columns: ['', ...heads], rows: favourites(numbers, without).map((row, l) => [`layer ${l + 1}`, ...row.map((c) => view.keys[c ?? -1] ?? '')]) });
  const chosen = grids.splice((Object.keys(MEASURES) as MeasureId[]).indexOf(measure.value), 1);
  return [...chosen, { title: `${view.title}: weights`, columns: ['query', ...view.keys], rows: view.queries.map((q, r) => [q, ...view.prepared.weights[r]]) }, ...grids];
}
