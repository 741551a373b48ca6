/** The lesson: the story before attention and its four mechanisms, as a player. One row first, then all. */
import { useEffect } from 'preact/hooks';
import { address, change, choice, flag, integer, text } from '../address.ts';
import { get, post, useAnswer, type LessonAnswer, type Models } from '../api.ts';
import type { DataTable } from '../export/exportable.ts';
import { useExportable } from '../export/exportable.ts';
import { number } from '../format.ts';
import { useKeys } from '../keyboard.ts';
import { palette } from '../theme.ts';
import { Icon, Segmented, Select, Toggle } from '../ui/controls.tsx';
import { Refusal } from '../ui/refusal.tsx';
import { StagePicture, WordByWord } from './figure.tsx';
import { Formula } from './formula.tsx';
import { MatrixTable } from './matrix.tsx';
import { mechanism } from './mechanism.ts';
import { CHAPTERS, MOST_WORDS, WEIGHT_LABELS, WEIGHTS, asking, edited, lectureSentence, sentence, set, settings, undoEdits, type ChapterId, type Settings } from './state.ts';
import { story } from './story.ts';
import type { Block, Chapter, Stage, Tensor } from './tensor.ts';

const LABELS: Record<ChapterId, string> = { story: 'The story', simplified: '1 Simplified', trainable: '2 Trainable', causal: '3 Causal', heads: '4 Multi-head', cross: 'Self and cross', model: 'Your sentence' };

const stageParam = text('stage');
/** The sentence of the chapter that uses a trained model's weights. */
const said = text('say');
const row = integer('row', 1);
const column = integer('column', 1);
/** Rows that are shown: only the chosen one, those up to it, or all. */
const rows = choice('rows', ['one', 'upto', 'all'] as const);
const playing = flag('play');
const inputsOpen = flag('inputs', true);

function changeChapter(chapter: string) {
  const keep = Object.fromEntries([...address.value.params].filter(([name]) => !['words', 'asking', 'edit'].includes(name)).map(([name]) => [name, null]));
  change({ ...keep, chapter: chapter === 'simplified' ? null : chapter }, true);
}

/** The lesson; a chapter that needs a trained model's weights asks the server for them. */
export function Lesson() {
  const s = settings();
  const models = useAnswer<Models>(s.chapter === 'model' ? get('/api/models') : null);
  const model = models.data?.models.find((m) => m.id === models.data?.default && m.attention.encoder) ?? models.data?.models.find((m) => m.attention.encoder);
  const words = said.value || (model?.source?.code === 'de' ? 'Der Hund schläft unter dem Tisch.' : 'Your journey starts with one step');
  const answer = useAnswer<LessonAnswer>(model ? post('/api/lesson', { model: model.id, text: words, head: s.head }) : null);
  if (s.chapter !== 'model') return <Chapters s={s} chapter={s.chapter === 'story' ? story() : mechanism(s, null)} />;
  return (
    <>
      <ChapterBar chapter="model" />
      <div class="bar">
        <label class="field words"><span class="label">Your sentence{model && `, with the weights of ${model.name}`}</span>
          <input type="text" value={words} maxLength={300} onInput={(e) => (said.value = e.currentTarget.value)} /></label>
      </div>
      {models.data && !model && <p class="hint">None of the loaded models is a Transformer; this chapter needs one.</p>}
      {models.error && <Refusal answer={models} />}
      {answer.error && <Refusal answer={answer} />}
      {answer.data && <Chapters s={s} chapter={mechanism(s, answer.data)} model={answer.data} />}
    </>
  );
}

function ChapterBar({ chapter }: { chapter: ChapterId }) {
  return (
    <div class="bar">
      <Segmented label="Chapter" hideLabel value={chapter} options={CHAPTERS.map((value) => ({ value, label: LABELS[value] }))} onChange={changeChapter} />
    </div>
  );
}

function Chapters({ s, chapter, model }: { s: Settings; chapter: Chapter; model?: LessonAnswer }) {
  const at = Math.max(0, chapter.stages.findIndex((stage) => stage.id === stageParam.value));
  const stage = chapter.stages[at];
  const last = chapter.stages.length - 1;

  const goTo = (index: number) => change({ stage: index === 0 ? null : chapter.stages[index].id });
  /** One row through all stages, then row by row to the end of the last, then all rows. */
  const forward = (): boolean => {
    if (at < last) {
      change({ stage: chapter.stages[at + 1].id });
      return true;
    }
    const height = stage.blocks[0]?.tensor.rows.length ?? 0;
    if (rows.value === 'one') change({ rows: 'upto', row: '0' });
    else if (rows.value === 'upto' && row.value < height - 1) row.value += 1;
    else if (rows.value === 'upto') change({ rows: 'all', row: null });
    else return false;
    return true;
  };
  const back = () => {
    if (rows.value === 'all' && at === last) change({ rows: 'upto', row: String((stage.blocks[0]?.tensor.rows.length ?? 1) - 1) });
    else if (rows.value === 'upto' && row.value > 0) row.value -= 1;
    else if (rows.value === 'upto') change({ rows: null, row: null });
    else if (at > 0) goTo(at - 1);
  };
  const restart = () => change({ stage: null, rows: null, row: null, column: null, play: null });

  useEffect(() => {
    if (!playing.value) return;
    const timer = setTimeout(() => {
      if (!forward()) playing.value = false;
    }, at < last || rows.value === 'one' ? 2600 : 1100);
    return () => clearTimeout(timer);
  });

  const play = () => {
    if (!playing.value && at === last && rows.value === 'all') restart();
    playing.value = !playing.value;
  };
  const chooseRow = (r: number) => change({ row: r === 1 ? null : String(r), play: null });
  useKeys('Lesson', [
    { keys: [' '], does: 'play or pause', run: play },
    { keys: ['ArrowRight', 'n'], does: 'next step', run: () => void forward() },
    { keys: ['ArrowLeft', 'p'], does: 'step before', run: back },
    { keys: ['ArrowDown'], does: 'next row (in a matrix, arrows move between cells)', run: () => chooseRow(Math.min((stage.blocks[0]?.tensor.rows.length ?? 1) - 1, row.value + 1)) },
    { keys: ['ArrowUp'], does: 'row before', run: () => chooseRow(Math.max(0, row.value - 1)) },
    { keys: ['a'], does: 'one row or all rows', run: () => (rows.value = rows.value === 'all' ? 'one' : 'all') },
    { keys: ['0', '1', '2', '3', '4', '5', '6'], does: 'chapter', run: (e) => changeChapter(CHAPTERS[Number(e.key)]) },
  ]);

  const tensors = [...chapter.inputs, ...chapter.stages.flatMap((each) => each.blocks.map((block) => block.tensor))];
  useExportable({
    name: `lesson-${s.chapter}-${stage.id}`,
    title: `heedful: ${LABELS[s.chapter]}, ${stage.title}`,
    picture: (p) => (stage.blocks.length ? <StagePicture stage={stage} row={row.value} column={column.value} palette={p} /> : <WordByWord palette={p} />),
    tables: () => tensors.map(asTable),
    data: () => ({ settings: s, sentence: sentence(), matrices: Object.fromEntries(tensors.map((t) => [t.id, { title: t.title, rows: t.rows, columns: t.columns, values: t.values.map((r) => r.map((x) => (Number.isFinite(x) ? x : null))) }])) }),
  });

  return (
    <div class="lesson">
      {!model && <ChapterBar chapter={s.chapter} />}
      {s.chapter !== 'story' && <Options s={s} heads={model?.heads ?? 2} />}
      <div class={`lesson-body${stage.blocks.length > 1 ? ' two' : ''}`}>
        <div class="prose">
          <p class="step">Step {at + 1} of {chapter.stages.length}</p>
          <h2>{stage.title}</h2>
          {stage.text.map((paragraph) => <p key={paragraph}>{paragraph}</p>)}
        </div>
        <div class="stage">
          {stage.blocks.length === 0 && <div class="scroll"><WordByWord palette={palette.value} /></div>}
          {stage.blocks.map((block) => <BlockView key={`${stage.id}${block.title}`} block={block} />)}
        </div>
      </div>
      <Player stages={chapter.stages} at={at} goTo={goTo} back={back} forward={forward} play={play} restart={restart} chooseRow={chooseRow} />
      {!model && <details class="inputs" open={inputsOpen.value} onToggle={(e) => e.currentTarget.open !== inputsOpen.value && (inputsOpen.value = e.currentTarget.open)}>
        <summary>Numbers you can change{edited() > 0 && <span class="badge">{edited()} changed</span>}</summary>
        <div class="inputs-row">
          <Words label="The sentence" parameter="words" words={sentence()} standard={lectureSentence} />
          {s.chapter === 'cross' && <Words label="What asks" parameter="asking" words={asking()} standard="Deine Reise beginnt" />}
          {edited() > 0 && <button type="button" onClick={undoEdits}>Back to the lecture's numbers</button>}
        </div>
        <div class="scroll inputs-matrices" tabIndex={0} role="region" aria-label="Inputs">
          {chapter.inputs.map((t) => <MatrixTable key={t.id} tensor={t} />)}
        </div>
      </details>}
    </div>
  );
}

function asTable(t: Tensor): DataTable {
  return { title: t.title, columns: ['', ...t.columns], rows: t.values.map((r, i) => [t.rows[i], ...r.map((x) => (Number.isFinite(x) ? x : number(x)))]) };
}

function Options({ s, heads }: { s: Settings; heads: number }) {
  const own = s.chapter === 'model';
  const trainable = s.chapter !== 'simplified' && !own;
  const masked = s.chapter === 'causal' || s.chapter === 'heads';
  return (
    <div class="bar options">
      {s.chapter === 'heads' && (
        <Segmented label="Heads" value={s.heads} onChange={(heads) => set('heads', heads)}
          options={[{ value: 'one', label: 'one head' }, { value: 'stacked', label: 'stacked' }, { value: 'split', label: 'split' }]} />
      )}
      {(own || (s.chapter === 'heads' && s.heads !== 'one')) && (
        <Segmented label="Look at head" value={String(s.head)} onChange={(head) => set('head', Number(head))} options={Array.from({ length: heads }, (_, h) => ({ value: String(h), label: String(h + 1) }))} />
      )}
      {s.chapter === 'simplified' && (
        <Segmented label="Normalise by" value={s.normalise} onChange={(normalise) => set('normalise', normalise)} options={[{ value: 'softmax', label: 'softmax' }, { value: 'sum', label: 'sum' }]} />
      )}
      {(masked || own) && (
        <Segmented label="Causal mask" value={s.mask} onChange={(mask) => set('mask', mask)}
          options={[{ value: 'none', label: 'none' }, { value: 'before', label: 'before softmax' }, { value: 'after', label: 'after softmax' }]} />
      )}
      {(trainable || own) && <Toggle label="scale by √d" on={s.scaled} onChange={(on) => set('scaled', on)} />}
      {masked && <Toggle label="dropout" on={s.dropout} onChange={(on) => set('dropout', on)} />}
      {trainable && <Select label="Weights" value={s.weights} onChange={(weights) => set('weights', weights)} options={WEIGHTS.map((value) => ({ value, label: WEIGHT_LABELS[value] }))} />}
      {trainable && s.weights === 'own' && (
        <label class="field"><span class="label">Seed</span><input type="number" min="0" max="4294967295" value={s.seed} onInput={(e) => set('seed', Math.max(0, Math.floor(Number(e.currentTarget.value)) || 0))} /></label>
      )}
    </div>
  );
}

function BlockView({ block }: { block: Block }) {
  const height = block.tensor.rows.length;
  const chosen = { row: Math.min(row.value, height - 1), column: Math.min(column.value, block.tensor.columns.length - 1) };
  const shown = (r: number) => !block.rowwise || rows.value === 'all' || r === chosen.row || (rows.value === 'upto' && r < chosen.row);
  const choose = (r: number, c: number) => change({ row: r === 1 ? null : String(r), column: c === 1 ? null : String(c), play: null });
  return (
    <section class="block">
      {block.title && <h3>{block.title}</h3>}
      <div class="scroll block-matrices" tabIndex={0} role="region" aria-label={`${block.title ?? ''} ${block.tensor.title}`}>
        {block.operands.map(({ tensor, uses, sign }) => {
          const marked = {
            row: { rows: [Math.min(chosen.row, tensor.rows.length - 1)] },
            rowOfColumn: { rows: [chosen.column] },
            column: { columns: [chosen.column] },
            cell: { rows: [chosen.row], columns: [chosen.column] },
            all: {},
          }[uses];
          return (
            <div class="operand" key={tensor.id + uses}>
              {sign && <span class="sign" aria-hidden="true">{sign}</span>}
              <MatrixTable tensor={{ ...tensor, edits: undefined }} marked={marked} />
            </div>
          );
        })}
        <div class="operand">
          <span class="sign" aria-hidden="true">=</span>
          <MatrixTable tensor={block.tensor} shown={shown} chosen={chosen} onChoose={choose} />
        </div>
      </div>
      <Formula lines={block.formula(chosen.row, chosen.column)} />
    </section>
  );
}

interface PlayerProps {
  stages: Stage[];
  at: number;
  goTo: (index: number) => void;
  back: () => void;
  forward: () => boolean;
  play: () => void;
  restart: () => void;
  chooseRow: (row: number) => void;
}

function Player({ stages, at, goTo, back, forward, play, restart, chooseRow }: PlayerProps) {
  const labels = stages[at].blocks[0]?.tensor.rows ?? [];
  return (
    <div class="player" role="group" aria-label="Player">
      <div class="player-buttons">
        <button type="button" onClick={restart} aria-label="To the start" title="To the start"><Icon name="start" /></button>
        <button type="button" onClick={back} aria-label="Step before" title="Step before (←)"><Icon name="back" /></button>
        <button type="button" class="primary" onClick={play} aria-label={playing.value ? 'Pause' : 'Play'} title="Play or pause (space)"><Icon name={playing.value ? 'pause' : 'play'} /></button>
        <button type="button" onClick={() => void forward()} aria-label="Next step" title="Next step (→)"><Icon name="next" /></button>
      </div>
      <ol class="stages">
        {stages.map((stage, i) => (
          <li key={stage.id}>
            <button type="button" aria-current={i === at ? 'step' : undefined} onClick={() => goTo(i)}>{stage.label}</button>
          </li>
        ))}
      </ol>
      {labels.length > 0 && (
        <div class="rows" role="group" aria-label="Rows">
          {labels.map((label, r) => (
            <button key={r} type="button" aria-pressed={row.value === r && rows.value !== 'all'} onClick={() => { chooseRow(r); if (rows.value === 'all') rows.value = 'one'; }}>{label}</button>
          ))}
          <button type="button" aria-pressed={rows.value === 'all'} onClick={() => (rows.value = rows.value === 'all' ? 'one' : 'all')}>all rows</button>
        </div>
      )}
    </div>
  );
}

function Words({ label, parameter, words, standard }: { label: string; parameter: string; words: string[]; standard: string }) {
  return (
    <label class="field words">
      <span class="label">{label} (up to {MOST_WORDS} words)</span>
      <input type="text" spellcheck={false} value={address.value.params.get(parameter) ?? words.join(' ')}
        onInput={(e) => change({ [parameter]: e.currentTarget.value === standard ? null : e.currentTarget.value, edit: null, row: null, column: null })} />
    </label>
  );
}
