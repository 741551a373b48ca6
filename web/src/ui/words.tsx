/** A picture whose words can be walked with the arrow keys: one Tab stop a side, Enter pins, Shift and Enter adds, Escape clears. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clearFocus, hover } from './focus.ts';

interface Props {
  label: string;
  children: ComponentChildren;
  onPick: (place: string, add: boolean) => void;
  onEscape?: () => void;
  /** Shows a heat map instead; offered where the picture is wider than its place. */
  onWide?: () => void;
}

export function WordKeys({ label, children, onPick, onEscape, onWide }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(false);
  useLayoutEffect(() => {
    const element = host.current!;
    const measure = () => setWide(element.scrollWidth > element.clientWidth + 1);
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    measure();
    return () => observer.disconnect();
  }, [children]);
  useEffect(() => () => hover(null), []);
  const keys = (event: KeyboardEvent) => {
    const here = (event.target as Element).closest<SVGGElement>('[data-place]');
    if (event.key === 'Escape') {
      clearFocus();
      onEscape?.();
      return;
    }
    if (!here) return;
    const place = here.dataset.place!;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      event.stopPropagation();
      onPick(place, event.shiftKey);
      return;
    }
    const all = (side: string) => [...host.current!.querySelectorAll<SVGGElement>(`[data-place^="${side}"]`)];
    const same = all(place[0]);
    const at = same.indexOf(here);
    let next: SVGGElement | undefined;
    if (event.key === 'ArrowRight') next = same[at + 1];
    else if (event.key === 'ArrowLeft') next = same[at - 1];
    else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const other = all(place[0] === 'r' ? 'c' : 'r');
      next = other[Math.min(other.length - 1, at)];
    } else if (event.key === 'Home') next = same[0];
    else if (event.key === 'End') next = same.at(-1);
    if (next || event.key.startsWith('Arrow')) event.preventDefault();
    next?.focus();
  };
  return (
    <>
    <div class="scroll words-picture" ref={host} data-arrows role="group" aria-label={label} onKeyDown={keys}
      onFocusCapture={(e) => hover((e.target as Element).closest<SVGGElement>('[data-place]')?.matches(':focus-visible') ? (e.target as SVGGElement).dataset.place! : null)} onBlurCapture={() => hover(null)}>
      {children}
    </div>
    {wide && onWide && <p class="hint">Wider than its place: scroll it sideways, or <button type="button" class="link" onClick={onWide}>see it as a heat map</button>.</p>}
    </>
  );
}
