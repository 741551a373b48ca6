/** What the server is asked, as `crates/heedful-explorer/openapi.json` describes it. A saved page finds the answers in itself. */
import { useEffect, useState } from 'preact/hooks';
import { apiKey } from './key.ts';
import { recorded } from './recorded.ts';

export interface Limits { text_bytes: number; sentence_tokens: number; map_bytes: number; map_tokens: number; n_best: number; beam: number; matrix_cells: number; seconds: number }
export interface Info { version: string; text: string; report: boolean; limits: Limits }
export interface Shape { layers: number; heads: number }
export interface Language { code: string; name: string }
export interface Model {
  id: string; name: string; architecture: 'transformer' | 'rnn' | 'rnn_attention'; source: Language | null; target: Language | null;
  attention: { encoder: Shape | null; decoder: Shape | null; cross: Shape | null };
  reading: string | null; readings: string[]; vocabulary: number; weights: number; sentence_tokens: number;
  sizes: Record<string, unknown>;
  card: { licence: string; attribution: string; data: string; training: string; scores: object[] };
}
export interface Models { default: string; models: Model[] }
export interface Token { id: number; text: string; word: number | null }
export interface TargetToken extends Token { probability: number }
export interface Alignment { weights: number[][]; outside: number[]; coverage: number[] }
export interface Candidate { text: string; words: string[]; probabilities: number[]; score: number; log_prob: number; finished: boolean; tokens: TargetToken[]; alignment: Alignment | null }
export interface Sentence { start: number; end: number; source: string; words: string[]; tokens: Token[]; candidates: Candidate[] }
export interface Translation { model: string; reading: string | null; text: string; sentences: Sentence[] }
export interface Forced { model: string; reading: string | null; sentence: Sentence; imposed: { step: number; source_word: number; weight: number | null }[] }
export type Kind = 'encoder' | 'decoder' | 'cross';
export interface HeadNumbers { entropy: number; largest: number; distance: number | null; first: number; last: number; columns: number[] }
export interface Heads { layers: number; heads: number; queries: number; keys: number; numbers: HeadNumbers[][] }
export interface Attention {
  model: string; source_words: string[]; source_tokens: Token[]; target_words: string[]; target_tokens: TargetToken[]; decoder_tokens: Token[];
  encoder: Heads | null; decoder: Heads | null; cross: Heads | null;
  matrices: { kind: Kind; layer: number; head: number; weights: number[][] }[];
}
export interface Projection { weight: number[][]; bias: number[] }
export interface LessonAnswer { model: string; tokens: Token[]; words: string[]; dim: number; width: number; heads: number; head: number; x: number[][]; query: Projection; key: Projection; value: Projection }
export interface MapInfo { id: string; name: string; model: string; state: 'queued' | 'reading' | 'pooling' | 'ready' | 'failed'; progress: number; error: string | null; tokens: number; layers: number; heads: number; tile: number; levels: number; pooled: boolean[][]; bytes: number; seconds: number }
export interface MapTokens { start: number; tokens: { text: string; start: number; end: number }[] }
export interface MapSearch { query: string; total: number; found: { start: number; end: number; before: string; match: string; after: string }[] }

export interface Request {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  body?: unknown;
}

export const get = (path: string): Request => ({ method: 'GET', path });
export const post = (path: string, body: unknown): Request => ({ method: 'POST', path, body });

export const keyOf = ({ method, path, body }: Request) => `${method} ${path}${body === undefined ? '' : ` ${JSON.stringify(body)}`}`;

export class Refused extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

/** Answers to what views have asked, the latest last, as many as a few views need. */
const kept = new Map<string, unknown>();
const MOST_KEPT = 60;
/** Those that the shown views stand on, and for how many of their parts. */
const used = new Map<string, number>();

function keep(key: string, answer: unknown) {
  kept.delete(key);
  kept.set(key, answer);
  for (const old of kept.keys()) {
    if (kept.size <= MOST_KEPT) break;
    if (!used.has(old)) kept.delete(old);
  }
}

/** What a saved page needs to show the same. */
export const answers = (): Record<string, unknown> => Object.fromEntries([...used.keys()].filter((key) => kept.has(key)).map((key) => [key, kept.get(key)]));

/** Counts an answer as used by what is shown; call what is returned when it no longer is. */
export function use(key: string): () => void {
  used.set(key, (used.get(key) ?? 0) + 1);
  return () => {
    const left = used.get(key)! - 1;
    if (left) used.set(key, left);
    else used.delete(key);
  };
}

/** Puts an answer that came from elsewhere among those that a saved page will carry; call what is returned when it is no longer shown. */
export function provide(request: Request, answer: unknown): () => void {
  keep(keyOf(request), answer);
  return use(keyOf(request));
}

/** What a saved page carries for this; nothing on a page that has a server. */
export const carried = (request: Request): unknown => recorded?.answers[keyOf(request)];

async function send(request: Request, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`.${request.path}`, {
      method: request.method,
      signal,
      headers: {
        ...(request.body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(apiKey.peek() ? { Authorization: `Bearer ${apiKey.peek()}` } : {}),
      },
      body: request.body === undefined ? undefined : JSON.stringify(request.body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused('The server does not answer. Is `heedful explore` still running?', 0);
  }
  if (response.ok) return response;
  const said = await response.json().then((body: { error?: string }) => body.error, () => undefined);
  throw new Refused(said ?? `The server answered ${response.status}.`, response.status);
}

function fromRecording(key: string): unknown {
  if (key in recorded!.answers) return recorded!.answers[key];
  throw new Refused('This is a saved page: it holds what was shown when it was saved, and there is no server to ask for more.', 0);
}

/** Asks for JSON. */
export async function ask<T>(request: Request, signal?: AbortSignal): Promise<T> {
  const key = keyOf(request);
  const answer = recorded ? fromRecording(key) : ((await (await send(request, signal)).json()) as unknown);
  keep(key, answer);
  return answer as T;
}

/** Tells the server that something is no longer needed. */
export const forget = (path: string) => send({ method: 'DELETE', path });

const encode = (bytes: Uint8Array) => {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
};

/** Asks for numbers, f32 in little-endian order. */
export async function askNumbers(request: Request, signal?: AbortSignal): Promise<{ numbers: Float32Array; exact: boolean }> {
  const key = keyOf(request);
  if (recorded) {
    const { base64, exact } = fromRecording(key) as { base64: string; exact: boolean };
    return { numbers: new Float32Array(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer), exact };
  }
  const response = await send(request, signal);
  const exact = (response.headers.get('Heedful-Queries') ?? 'all') === 'all';
  return { numbers: new Float32Array(await response.arrayBuffer()), exact };
}

/** Puts numbers among the answers that a saved page will carry. */
export const keepNumbers = (request: Request, numbers: Float32Array, exact: boolean) =>
  keep(keyOf(request), { base64: encode(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)), exact });

export interface Answer<T> {
  /** The latest answer; while a newer one is awaited, the one before it. */
  data: T | null;
  error: string | null;
  status: number;
  waiting: boolean;
}

/** Asks when the request changes; what is no longer wanted is dropped, and the server stops computing it. `fresh` asks for what may have changed. */
export function useAnswer<T>(request: Request | null, fresh = false): Answer<T> {
  const key = request && keyOf(request);
  const [answer, setAnswer] = useState<Answer<T> & { key: string | null }>({ data: null, error: null, status: 200, waiting: request !== null, key: null });
  useEffect(() => {
    if (!request || !key) return;
    const unuse = use(key);
    if (kept.has(key) && !fresh) {
      setAnswer({ data: kept.get(key) as T, error: null, status: 200, waiting: false, key });
      return unuse;
    }
    const control = new AbortController();
    setAnswer((before) => ({ ...before, waiting: true }));
    ask<T>(request, control.signal).then(
      (data) => !control.signal.aborted && setAnswer({ data, error: null, status: 200, waiting: false, key }),
      (error: unknown) => !control.signal.aborted && setAnswer((before) => ({
        ...before, data: null, error: error instanceof Error ? error.message : String(error), status: error instanceof Refused ? error.status : 0, waiting: false, key })),
    );
    return () => {
      control.abort();
      unuse();
    };
  }, [key, apiKey.value]);
  if (request === null) return { data: null, error: null, status: 200, waiting: false };
  return answer.key === key ? answer : { ...answer, error: null, waiting: true };
}

export const useModels = () => useAnswer<Models>(get('/api/models'));
export const useInfo = () => useAnswer<Info>(get('/api/info'));
