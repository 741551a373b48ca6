/** Controls that all views share. */
import type { ComponentChildren } from 'preact';
import { useId, useRef } from 'preact/hooks';
import { number } from '../format.ts';

interface Option<T> {
  value: T;
  label: string;
  hint?: string;
}

/** One of a few: arrow keys move, as radio buttons do. */
export function Segmented<T extends string>({ label, options, value, onChange, hideLabel }: { label: string; options: readonly Option<T>[]; value: T; onChange: (value: T) => void; hideLabel?: boolean }) {
  const group = useRef<HTMLDivElement>(null);
  const id = useId();
  const move = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowRight' || event.key === 'ArrowDown' ? 1 : event.key === 'ArrowLeft' || event.key === 'ArrowUp' ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const at = options.findIndex((o) => o.value === value);
    const next = (at + step + options.length) % options.length;
    onChange(options[next].value);
    group.current?.querySelectorAll<HTMLElement>('[role=radio]')[next]?.focus();
  };
  return (
    <div class="field">
      <span class={hideLabel ? 'unseen' : 'label'} id={id}>{label}</span>
      <div class="segmented" role="radiogroup" aria-labelledby={id} ref={group} onKeyDown={move}>
        {options.map((o) => (
          <button key={o.value} type="button" role="radio" aria-checked={o.value === value} tabIndex={o.value === value ? 0 : -1} title={o.hint} onClick={() => onChange(o.value)}>
            {o.label}
          </button>
        ))}
      </div>
    </div>
  );
}

export function Toggle({ label, on, onChange, hint }: { label: string; on: boolean; onChange: (on: boolean) => void; hint?: string }) {
  return (
    <label class="toggle" title={hint}>
      <input type="checkbox" role="switch" checked={on} onChange={(e) => onChange(e.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

export function Select<T extends string>({ label, options, value, onChange }: { label: string; options: readonly Option<T>[]; value: T; onChange: (value: T) => void }) {
  return (
    <label class="field">
      <span class="label">{label}</span>
      <select value={value} onChange={(e) => onChange(e.currentTarget.value as T)}>
        {options.map((o) => (
          <option key={o.value} value={o.value} selected={o.value === value}>{o.label}</option>
        ))}
      </select>
    </label>
  );
}

export function Slider({ label, value, least, most, step = 1, shown, onChange }: { label: string; value: number; least: number; most: number; step?: number; shown: string; onChange: (value: number) => void }) {
  return (
    <label class="field slider">
      <span class="label">{label}</span>
      <input type="range" min={least} max={most} step={step} value={value} aria-valuetext={shown} onInput={(e) => onChange(Number(e.currentTarget.value))} />
      <output>{shown}</output>
    </label>
  );
}

/** What went wrong, in the server's words. */
export function Problem({ children }: { children: ComponentChildren }) {
  return <p class="problem" role="alert">{children}</p>;
}

/** What is being waited for. */
export function Waiting({ children }: { children: ComponentChildren }) {
  return <p class="waiting" role="status">{children}</p>;
}

/** The colours of a scale with the numbers at its ends. */
export function Legend({ label, from, to, colour, logarithmic, decimals = 2 }: { label: string; from: number; to: number; colour: (t: number) => string; logarithmic?: boolean; decimals?: number }) {
  const steps = 24;
  const end = (x: number) => (x >= 10 ? Math.round(x).toLocaleString('en') : number(x, decimals));
  return (
    <div class="legend">
      <span>{label}</span>
      <span class="number">{end(from)}</span>
      <svg width={steps * 4} height="10" aria-hidden="true">
        {Array.from({ length: steps }, (_, i) => <rect key={i} x={i * 4} width="4.5" height="10" fill={colour(i / (steps - 1))} />)}
      </svg>
      <span class="number">{end(to)}</span>
      {logarithmic && <span>log</span>}
    </div>
  );
}

const ICONS = {
  start: 'M1 1h2.5v12H1zM13 1v12L4.5 7z',
  back: 'M12 1v12L2 7z',
  play: 'M3 1v12l10-6z',
  pause: 'M2 1h3.5v12H2zM8.5 1H12v12H8.5z',
  next: 'M1 1v12l8.5-6zM10.5 1H13v12h-2.5z',
} as const;

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return <svg class="icon" viewBox="0 0 14 14" aria-hidden="true"><path d={ICONS[name]} /></svg>;
}
