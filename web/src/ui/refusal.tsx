/** What the server said when it refused; if it wants a key, a place to give it. */
import { useState } from 'preact/hooks';
import type { Answer } from '../api.ts';
import { giveKey } from '../key.ts';
import { Problem } from './controls.tsx';

export function Refusal({ answer }: { answer: Answer<unknown> }) {
  const [key, setKey] = useState('');
  if (answer.status !== 401) return <Problem>{answer.error}</Problem>;
  return (
    <form class="bar" onSubmit={(e) => { e.preventDefault(); giveKey(key); }}>
      <Problem>{answer.error}</Problem>
      <label class="field"><span class="label">API key</span><input type="password" autocomplete="off" value={key} onInput={(e) => setKey(e.currentTarget.value)} /></label>
      <button type="submit" class="primary">Use this key</button>
    </form>
  );
}
