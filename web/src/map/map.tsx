/** Map: a long text under one head, as a map that zooms like a street map. The server computes tiles as they are looked at; nobody holds n × n. */
import type { RefObject } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { change, choice, flag, integer, text } from '../address.ts';
import { ask, forget, get, post, Refused, useAnswer, useInfo, useModels, type MapInfo, type MapSearch } from '../api.ts';
import { SCALES, sequential, table, type ScaleName } from '../colour.ts';
import { useExportable, type DataTable } from '../export/exportable.ts';
import { FONT, Svg } from '../export/svg.tsx';
import { count, number, percent } from '../format.ts';
import { useKeys } from '../keyboard.ts';
import { palette, type Palette } from '../theme.ts';
import { Legend, Problem, Select, Toggle, Waiting } from '../ui/controls.tsx';
import { Refusal } from '../ui/refusal.tsx';
import type { Camera } from './camera.ts';
import { MapCanvas, weightOf, type Cell } from './canvas.tsx';
import { TileStore, type Colours } from './tiles.ts';
import { Tokens } from './tokens.ts';

const mapParam = text('map');
const layer = integer('layer', 1, 1);
const head = integer('head', 1, 1);
const logarithmic = flag('log', true);
const scale = choice<ScaleName>('scale', ['viridis', 'cividis', 'purple']);
const at = text('at');
const cellParam = text('cell');
const search = text('q');

const cameraOf = (value: string): Camera | null => {
  const [key, query, zoom] = value.split(',').map(Number);
  return [key, query, zoom].every(Number.isFinite) && zoom > 0 ? { key, query, zoom } : null;
};
const cellOf = (value: string): Cell | null => {
  const [query, key] = value.split(',').map(Number);
  return value && Number.isInteger(query) && Number.isInteger(key) ? { query, key } : null;
};

interface Weighted { token: number; text: string; weight: number }
interface Looks { text: string; top: Weighted[]; strip: number[] }
interface Row extends Looks { rest: number; entropy: number }
interface Column extends Looks { sum: number }

export function MapView() {
  const id = mapParam.value;
  return id ? <Opened key={id} id={id} /> : <Start />;
}

function Start() {
  const info = useInfo();
  const models = useModels();
  const maps = useAnswer<MapInfo[]>(get('/api/maps'), true);
  const list = (models.data?.models ?? []).filter((m) => m.attention.encoder);
  const [model, setModel] = useState('');
  const [content, setContent] = useState('');
  const [name, setName] = useState('');
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const limits = info.data?.limits;
  const [gone, setGone] = useState<readonly string[]>([]);
  const there = (maps.data ?? []).filter((m) => !gone.includes(m.id));

  const read = async (file: File | undefined) => {
    if (!file) return;
    if (limits && file.size > limits.map_bytes) {
      setProblem(`${file.name} has ${count(file.size, 'byte')}; at most ${limits.map_bytes.toLocaleString('en')} can be mapped.`);
      return;
    }
    setContent(await file.text());
    setName(file.name);
  };
  const start = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const made = await ask<MapInfo>(post('/api/maps', { text: content, name: name || content.trim().slice(0, 40), ...(model ? { model } : {}) }));
      change({ map: made.id }, true);
    } catch (error) {
      setProblem(error instanceof Refused || error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  if (info.error) return <Refusal answer={info} />;
  if (models.data && !list.length) return <p class="hint">None of the loaded models has an encoder that looks at itself: only Transformers do.</p>;
  return (
    <div class="map-start">
      <section class="panel">
        <h2>Map a long text</h2>
        <p>Paste a chapter or open a file: each word looks at all others, and the map shows where. {limits && `Up to ${limits.map_tokens.toLocaleString('en')} tokens.`} The text stays on this computer.</p>
        <label class="field"><span class="label">Text</span><textarea id="maptext" rows={10} value={content} onInput={(e) => setContent(e.currentTarget.value)} /></label>
        <div class="bar">
          <label class="field"><span class="label">or a file</span><input type="file" accept=".txt,.md,text/*" onChange={(e) => void read(e.currentTarget.files?.[0])} /></label>
          <label class="field"><span class="label">Name</span><input type="text" maxLength={200} value={name} onInput={(e) => setName(e.currentTarget.value)} /></label>
          {list.length > 1 && <Select label="Model" value={model || models.data!.default} options={list.map((m) => ({ value: m.id, label: m.name }))} onChange={setModel} />}
          <button type="button" class="primary" disabled={busy || !content.trim()} onClick={() => void start()}>Make the map</button>
        </div>
        <p class="hint">No text at hand? <button type="button" class="link" onClick={() => void fetch('./licences.txt').then((r) => r.text()).then((t) => { setContent(t); setName('the licences of this page'); })}>Take the licences of this page.</button></p>
        {problem && <Problem>{problem}</Problem>}
      </section>
      {there.length > 0 && (
        <section class="panel">
          <h2>Maps that are there</h2>
          <ul class="maps">{there.map((m) => <li key={m.id}><button type="button" class="link" onClick={() => change({ map: m.id }, true)}>{m.name || m.id}</button> <span class="hint">{count(m.tokens, 'token')}, {m.layers} × {m.heads} heads, {m.state}</span> <button type="button" class="link" aria-label={`Forget ${m.name || m.id}`} onClick={() => void forget(`/api/maps/${m.id}`).finally(() => setGone([...gone, m.id]))}>forget</button></li>)}</ul>
        </section>
      )}
    </div>
  );
}

/** Asks for the map again while it is being made. */
function useMap(id: string) {
  const [map, setMap] = useState<MapInfo | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const first = useAnswer<MapInfo>(get(`/api/maps/${id}`), true);
  useEffect(() => {
    if (first.data) setMap(first.data);
  }, [first.data]);
  useEffect(() => {
    if (!map || map.state === 'ready' || map.state === 'failed') return;
    const timer = setTimeout(() => ask<MapInfo>(get(`/api/maps/${id}`)).then(setMap, (e: Error) => setProblem(e.message)), 350);
    return () => clearTimeout(timer);
  }, [map]);
  return { map, problem: problem ?? first.error };
}

function Opened({ id }: { id: string }) {
  const { map, problem } = useMap(id);
  if (problem) return <><Problem>{problem}</Problem><p><button type="button" onClick={() => change({ map: null, at: null, cell: null }, true)}>Make a map</button></p></>;
  if (!map) return <Waiting>Loading the map …</Waiting>;
  if (map.state === 'failed') return <Problem>{map.error ?? 'The map could not be made.'}</Problem>;
  if (map.state === 'queued' || map.state === 'reading') {
    return (
      <section class="panel empty">
        <Waiting>{map.state === 'queued' ? 'Other maps are being made; this one waits for its turn …' : `The encoder reads ${count(map.tokens, 'token')}: ${percent(map.progress)}`}</Waiting>
        <button type="button" onClick={() => void forget(`/api/maps/${id}`).finally(() => change({ map: null }, true))}>Stop</button>
      </section>
    );
  }
  return <Explore map={map} />;
}

function Explore({ map }: { map: MapInfo }) {
  const [l, h] = [Math.min(layer.value, map.layers) - 1, Math.min(head.value, map.heads) - 1];
  const [revision, setRevision] = useState(0);
  const changed = () => setRevision((r) => r + 1);
  const store = useMemo(() => new TileStore(map, l, h, changed), [map.id, l, h]);
  useEffect(() => () => store.close(), [store]);
  const tokens = useMemo(() => new Tokens(map.id, changed), [map.id]);
  useEffect(() => () => tokens.close(), [tokens]);
  const pooled = map.pooled[l]?.[h] ?? false;
  useEffect(() => {
    if (pooled) store.dropPreviews();
  }, [pooled, store]);

  // While the map is moved, the address follows when it rests.
  const [moving, setMoving] = useState<Camera | null | undefined>(undefined);
  const camera = moving === undefined ? cameraOf(at.value) : moving;
  useEffect(() => {
    if (moving === undefined) return;
    const timer = setTimeout(() => {
      at.value = moving ? [moving.key.toFixed(2), moving.query.toFixed(2), moving.zoom.toPrecision(5)].join(',') : '';
      setMoving(undefined);
    }, 300);
    return () => clearTimeout(timer);
  }, [moving]);
  const cell = cellOf(cellParam.value);
  const chosen = cell && cell.query < map.tokens && cell.key < map.tokens ? cell : null;
  const choose = (c: Cell) => (cellParam.value = `${c.query},${c.key}`);
  const jump = (c: Cell) => {
    change({ cell: `${c.query},${c.key}`, at: [c.key + 0.5, c.query + 0.5, Math.max(14, camera?.zoom ?? 0)].join(',') });
    setMoving(undefined);
  };

  const p = palette.value;
  const even = 1 / map.tokens;
  const top = store.largestSeen();
  const colours = useMemo(() => {
    const scheme = { table: table(sequential(scale.value, p)) };
    return (): Colours => logarithmic.value
      ? { ...scheme, key: `log ${scale.value} ${p.name}`, position: (value, level) => (value > 0 ? (Math.log10(value / (even * 2 ** (map.levels - 1 - level))) + 1) / 3 : 0) }
      : { ...scheme, key: `linear ${scale.value} ${p.name} ${top}`, position: (value) => value / top };
  }, [scale.value, p, logarithmic.value, logarithmic.value ? 0 : top, map.tokens]);

  const looks = (what: 'rows' | 'columns', place: number | undefined) => (place === undefined ? null : get(`/api/maps/${map.id}/${what}/${l}/${h}/${place}?top=12&strip=240`));
  const row = useAnswer<Row>(looks('rows', chosen?.query));
  const column = useAnswer<Column>(looks('columns', chosen?.key));
  const box = useRef<HTMLInputElement>(null);
  const move = (dl: number, dh: number) => change({ layer: String(((l + dl + map.layers) % map.layers) + 1), head: String(((h + dh + map.heads) % map.heads) + 1) });
  useKeys('Map', [
    { keys: ['/'], does: 'search', run: () => box.current?.focus() },
    { keys: ['+', '-'], does: 'zoom (with the map focused)', run: () => document.querySelector<HTMLElement>('[data-testid=map]')?.focus() },
    { keys: ['['], does: 'head before', run: () => move(0, -1) },
    { keys: [']'], does: 'next head', run: () => move(0, 1) },
    { keys: ['{'], does: 'layer below', run: () => move(-1, 0) },
    { keys: ['}'], does: 'layer above', run: () => move(1, 0) },
    { keys: ['0'], does: 'show all', run: () => setMoving(null) },
    { keys: ['l'], does: 'linear or logarithmic colours', run: () => (logarithmic.value = !logarithmic.value) },
    { keys: ['Escape'], does: 'clear what is chosen', run: () => (cellParam.value = '') },
  ]);

  const title = `${map.name}: layer ${l + 1}, head ${h + 1}`;
  useEffect(() => {
    if (store.complete) store.record();
  });
  useExportable({
    name: `map-layer${l + 1}-head${h + 1}`, title: `heedful: ${title}`,
    picture: (q) => <Picture title={title} palette={q} />,
    tables: () => tables(map, l, h, row.data, column.data, chosen),
    data: () => ({ map: { id: map.id, name: map.name, model: map.model, tokens: map.tokens }, layer: l + 1, head: h + 1, camera, chosen, row: row.data, column: column.data }),
  });
  const choices = (n: number, word: string) => Array.from({ length: n }, (_, i) => ({ value: String(i + 1), label: `${word} ${i + 1}` }));
  const legend = useMemo(() => sequential(scale.value, p), [scale.value, p]);
  return (
    <div class="map">
      <div class="bar">
        <div class="field"><span class="label">Text</span><span><strong>{map.name}</strong>, {count(map.tokens, 'token')} <button type="button" class="link" onClick={() => change({ map: null, at: null, cell: null, q: null }, true)}>another text</button></span></div>
        <Select label="Layer" value={String(l + 1)} options={choices(map.layers, 'layer')} onChange={(v) => (layer.value = Number(v))} />
        <Select label="Head" value={String(h + 1)} options={choices(map.heads, 'head')} onChange={(v) => (head.value = Number(v))} />
        <Select label="Colours" value={scale.value} options={SCALES.map((value) => ({ value, label: value }))} onChange={(v) => (scale.value = v)} />
        <Toggle label="log colours" on={logarithmic.value} onChange={(on) => (logarithmic.value = on)} />
        {logarithmic.value ? <Legend label="times as much as if it looked everywhere alike" from={0.1} to={100} colour={legend} decimals={1} /> : <Legend label="weight" from={0} to={top} colour={legend} decimals={4} />}
      </div>
      <div class="map-body">
        <div class="map-main">
          <MapCanvas map={map} store={store} tokens={tokens} colours={colours} camera={camera} onCamera={setMoving} chosen={chosen} onChoose={choose} palette={p} revision={revision} />
          <p class="reading">
            <span><span class="role-q">Queries</span> downwards, <span class="role-k">keys</span> to the right.</span>
            {!store.exact && <span>A preview: of each pixel some queries were looked at; the rest is being computed{map.state === 'pooling' ? ` (${percent(map.progress)})` : ''}.</span>}
            {store.problem && <span class="problem">{store.problem}</span>}
          </p>
        </div>
        <aside class="map-side">
          <Search map={map} box={box} jump={jump} chosen={chosen} />
          {chosen && <Pair map={map} tokens={tokens} cell={chosen} weight={weightOf(store, map, chosen)} />}
          {!chosen && <p class="hint">Click a place on the map, or a search result, to see whom that token looks at and who looks at it.</p>}
          {chosen && <Side title="looks at" role="q" place={chosen.query} answer={row.data} waiting={row.waiting} error={row.error} note={row.data && `All others together: ${small(row.data.rest)}. Entropy ${number(row.data.entropy, 2)} nats.`} onJump={(key) => jump({ query: chosen.query, key })} />}
          {chosen && <Side title="is looked at by" role="k" place={chosen.key} answer={column.data} waiting={column.waiting} error={column.error} note={column.data && `It receives ${number(column.data.sum, 2)} in all; alike would be 1.`} onJump={(query) => jump({ query, key: chosen.key })} />}
        </aside>
      </div>
    </div>
  );
}

/** Does this token look at that one? */
function Pair({ map, tokens, cell, weight }: { map: MapInfo; tokens: Tokens; cell: Cell; weight: number | null }) {
  return (
    <section class="panel looks" aria-label="One weight" data-testid="pair">
      <h3><span class="role-q">{tokens.label(cell.query)}</span> <small>token {cell.query + 1}</small> looks at <span class="role-k">{tokens.label(cell.key)}</span> <small>token {cell.key + 1}</small></h3>
      <p class="hint">{weight === null ? 'Looking …' : `Weight ${small(weight)}, ${times(weight * map.tokens)} as much as if it looked everywhere alike.`}</p>
    </section>
  );
}

/** A weight in a long text is small: two digits of it. */
const small = (weight: number) => (weight === 0 ? '0' : weight >= 0.01 ? number(weight, 3) : weight.toPrecision(2));
/** Letters before what was found, so that it is seen itself. */
const BEFORE = 18;

const times = (factor: number) => `${factor >= 10 ? Math.round(factor).toLocaleString('en') : number(factor, factor < 0.1 ? 3 : 1)} times`;

function Search({ map, box, jump, chosen }: { map: MapInfo; box: RefObject<HTMLInputElement | null>; jump: (cell: Cell) => void; chosen: Cell | null }) {
  const [draft, setDraft] = useState<string | null>(null);
  useEffect(() => {
    if (draft === null) return;
    const timer = setTimeout(() => { search.value = draft; setDraft(null); }, 250);
    return () => clearTimeout(timer);
  }, [draft]);
  const found = useAnswer<MapSearch>(search.value.trim() ? get(`/api/maps/${map.id}/search?q=${encodeURIComponent(search.value.trim())}&limit=50`) : null);
  return (
    <section class="panel search" aria-label="Search">
      <label class="field"><span class="label">Search a word</span><input type="search" ref={box} value={draft ?? search.value} onInput={(e) => setDraft(e.currentTarget.value)} /></label>
      {found.error && <Problem>{found.error}</Problem>}
      {found.data && search.value.trim() && (
        <>
          <p class="hint" role="status">{found.data.total ? `${count(found.data.total, 'place')}${found.data.total > found.data.found.length ? `, the first ${found.data.found.length}` : ''}` : 'Not in this text.'}</p>
          <ol>
            {found.data.found.map((f) => (
              <li key={f.start}>
                <button type="button" class="found" aria-current={chosen?.query === f.start ? 'true' : undefined} onClick={() => jump({ query: f.start, key: f.start })}><span>…{f.before.slice(-BEFORE)}<mark>{f.match}</mark>{f.after}…</span></button>
                {chosen && <button type="button" class="small" title={`How much does token ${chosen.query + 1} look here?`} aria-label={`Token ${f.start + 1} as key: how much does token ${chosen.query + 1} look there?`} onClick={() => jump({ query: chosen.query, key: f.start })}>as key</button>}
              </li>
            ))}
          </ol>
          {chosen && found.data.total > 1 && <p class="hint">A word goes there; “as key” keeps the query and asks how much it looks there.</p>}
        </>
      )}
    </section>
  );
}

function Side({ title, role, place, answer, waiting, error, note, onJump }: { title: string; role: 'q' | 'k'; place: number; answer: Looks | null; waiting: boolean; error: string | null; note: string | null; onJump: (token: number) => void }) {
  const largest = Math.max(1e-12, ...(answer?.top.map((t) => t.weight) ?? []));
  const strip = Math.max(1e-12, ...(answer?.strip ?? []));
  const label = (s: string) => s.replace(/^▁/, '').replaceAll('\n', '¶') || '▁';
  return (
    <section class={`panel looks${waiting ? ' old' : ''}`} data-testid={role === 'q' ? 'row' : 'column'}>
      <h3><span class={`role-${role}`}>{answer ? label(answer.text) : '…'}</span> <small>token {place + 1}</small> {title}</h3>
      {error && <Problem>{error}</Problem>}
      {answer && (
        <>
          <div class="strip small" aria-hidden="true">{answer.strip.map((w, i) => <span key={i} style={{ height: `${Math.max(1, Math.sqrt(w / strip) * 32)}px`, backgroundColor: palette.value[role === 'q' ? 'k' : 'q'] }} />)}</div>
          <ol class="cards">
            {answer.top.map((t) => (
              <li key={t.token}><span class="number">{small(t.weight)}</span><meter min="0" max={largest} value={t.weight} aria-label={`weight of ${t.text}`} /><button type="button" class="link" onClick={() => onJump(t.token)}>{label(t.text)}</button><span class="place">{t.token + 1}</span></li>
            ))}
          </ol>
          <p class="hint">{note}</p>
        </>
      )}
    </section>
  );
}

/** The map as it stands on the page, inside a frame that says what it is. */
function Picture({ title, palette: p }: { title: string; palette: Palette }) {
  const canvas = document.querySelector<HTMLCanvasElement>('[data-testid=map]');
  if (!canvas) return <Svg width={10} height={10} palette={p} title={title}>{null}</Svg>;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  return (
    <Svg width={width + 40} height={height + 76} palette={p} title={title} background>
      <text x="20" y="28" font-size="16" font-weight="640">{title}</text>
      <text x="20" y="46" font-size="12" fill={p.muted} font-family={FONT}>Queries downwards, keys to the right; {logarithmic.value ? 'logarithmic' : 'linear'} colours, {scale.value}</text>
      <image x="20" y="56" width={width} height={height} href={canvas.toDataURL('image/png')} />
    </Svg>
  );
}

function tables(map: MapInfo, l: number, h: number, row: Row | null, column: Column | null, chosen: Cell | null): DataTable[] {
  const list: DataTable[] = [{ title: 'Map', columns: ['', ''], rows: [['text', map.name], ['tokens', map.tokens], ['layer', l + 1], ['head', h + 1]] }];
  if (row && chosen) list.push({ title: `Token ${chosen.query + 1}, ${row.text}, looks at`, columns: ['token', 'place', 'weight'], rows: row.top.map((t) => [t.text, t.token + 1, t.weight]) });
  if (column && chosen) list.push({ title: `Token ${chosen.key + 1}, ${column.text}, is looked at by`, columns: ['token', 'place', 'weight'], rows: column.top.map((t) => [t.text, t.token + 1, t.weight]) });
  return list;
}
