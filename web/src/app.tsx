/** The shell: the views' names, the theme, help, the files that can be saved, and the view itself. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { address, flag, link, open } from './address.ts';
import { current } from './export/exportable.ts';
import { FORMATS, save, type Format } from './export/files.ts';
import { characterKeys, keyGroups, toggleCharacterKeys, useKeys } from './keyboard.ts';
import { Heads } from './heads/heads.tsx';
import { Ladder } from './ladder/ladder.tsx';
import { Lesson } from './lesson/lesson.tsx';
import { MapView } from './map/map.tsx';
import { recorded } from './recorded.ts';
import { theme, toggleTheme } from './theme.ts';
import { Translate } from './translate/translate.tsx';
import { TableView } from './ui/tables.tsx';

interface View {
  id: string;
  label: string;
  says: string;
  content: () => ComponentChildren;
}

const VIEWS: View[] = [
  { id: 'translate', label: 'Translate', says: 'why a word came out', content: () => <Translate /> },
  { id: 'lesson', label: 'Lesson', says: 'how attention works, number by number', content: () => <Lesson /> },
  { id: 'heads', label: 'Heads', says: 'which head looks where', content: () => <Heads /> },
  { id: 'map', label: 'Map', says: 'a long text, from far and from near', content: () => <MapView /> },
  { id: 'ladder', label: 'Ladder', says: 'what attention buys', content: () => <Ladder /> },
];

const tables = flag('table');
const FORMAT_LABELS: Record<Format, string> = {
  svg: 'SVG: picture for papers', png: 'PNG: picture', csv: 'CSV: the numbers, as tables', json: 'JSON: the numbers, for programs', html: 'HTML: this page in one file, no server needed',
};

export function App() {
  const view = VIEWS.find((v) => v.id === address.value.view) ?? VIEWS[0];
  const [help, setHelp] = useState(false);
  const [saving, setSaving] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    document.title = `heedful: ${view.label}`;
  }, [view.label]);

  useKeys('Everywhere', [
    { keys: ['?'], does: 'this help', run: () => setHelp(true) },
    { keys: ['g'], does: 'go to the next view', run: () => open(VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length].id) },
    { keys: ['e'], does: 'save what is shown as a file', run: () => setSaving(true) },
    { keys: ['t'], does: 'the numbers as tables', run: () => (tables.value = !tables.value) },
    { keys: ['d'], does: 'light or dark', run: toggleTheme },
  ]);

  const saveAs = (format: Format) => {
    setSaving(false);
    setProblem(null);
    if (current.value) save(current.value, format).catch((error: unknown) => setProblem(`The file was not saved: ${error instanceof Error ? error.message : error}`));
  };

  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById('main')?.focus(); }}>To the content</a>
      <header class="top">
        <span class="brand">heedful</span>
        <nav aria-label="Views">
          {VIEWS.map((v) => (
            <a key={v.id} href={link(v.id)} title={v.says} aria-current={v === view ? 'page' : undefined} onClick={(e) => { if (!e.ctrlKey && !e.metaKey && !e.shiftKey) { e.preventDefault(); open(v.id); } }}>{v.label}</a>
          ))}
        </nav>
        <div class="actions">
          <button type="button" aria-pressed={tables.value} onClick={() => (tables.value = !tables.value)} title="The numbers as tables (t)">Table</button>
          <button type="button" onClick={() => setSaving(true)} disabled={!current.value} title="Save what is shown (e)">Save…</button>
          <button type="button" onClick={toggleTheme} title="Light or dark (d)">{theme.value === 'dark' ? 'Light' : 'Dark'}</button>
          <button type="button" onClick={() => setHelp(true)} aria-label="Help" title="Keys and help (?)">?</button>
        </div>
      </header>
      {recorded && <p class="saved">A saved page, of {recorded.saved}: it shows what was shown then, and asks no server.</p>}
      {problem && <p class="problem" role="alert">{problem}</p>}
      <main id="main" tabIndex={-1} aria-label={view.label}>
        <h1 class="unseen">{view.label}: {view.says}</h1>
        {view.content()}
        {tables.value && <TableView />}
      </main>
      <footer>Attention is where information is read, not why. <a href="./licences.txt">Licences</a></footer>
      {help && (
        <Dialog title="Help" onClose={() => setHelp(false)}>
          <p>Everything shown is in the address: copy it, and the same view opens again. Hovering previews, clicking pins, Shift-click adds, Escape clears.</p>
          <p><label><input type="checkbox" checked={characterKeys.value} onChange={toggleCharacterKeys} /> Keys of one character, such as <kbd>g</kbd>, do something</label></p>
          <div class="keys">
            {keyGroups.value.toReversed().map((group) => (
              <section key={group.title} aria-label={group.title}>
                <h3>{group.title}</h3>
                <dl>
                  {group.keys.map((key) => (
                    <div key={key.does} class="key"><dt>{key.keys.map((k) => <kbd key={k}>{KEY_NAMES[k] ?? k}</kbd>)}</dt><dd>{key.does}</dd></div>
                  ))}
                </dl>
              </section>
            ))}
          </div>
        </Dialog>
      )}
      {saving && (
        <Dialog title="Save what is shown" onClose={() => setSaving(false)}>
          <div class="formats">
            {FORMATS.map((format) => <button key={format} type="button" onClick={() => saveAs(format)}>{FORMAT_LABELS[format]}</button>)}
          </div>
        </Dialog>
      )}
    </>
  );
}

const KEY_NAMES: Record<string, string> = { ' ': 'space', ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc' };

function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-label={title} onClose={onClose} onClick={(e) => e.target === e.currentTarget && e.currentTarget.close()}>
      <div class="dialog">
        <header><h2>{title}</h2><button type="button" onClick={() => dialog.current?.close()} aria-label="Close">✕</button></header>
        {children}
      </div>
    </dialog>
  );
}
