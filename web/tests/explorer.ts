/** A running explorer and a browser for the tests. `HEEDFUL` is the program; `CHROMIUM` the browser, by default Debian's. */
import { spawn, type ChildProcess } from 'node:child_process';
import { after } from 'node:test';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { models } from './materials.ts';

let browser: Promise<Browser> | undefined;
let server: Promise<{ url: string; process: ChildProcess | null }> | undefined;

const launch = () => (browser ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] }));

/** The page's address. `HEEDFUL_URL` names an explorer that runs already. */
export function explorer(): Promise<string> {
  server ??= process.env.HEEDFUL_URL ? Promise.resolve({ url: process.env.HEEDFUL_URL, process: null }) : start();
  return server.then(({ url }) => url);
}

function start(): Promise<{ url: string; process: ChildProcess }> {
  const program = process.env.HEEDFUL;
  if (!program) throw new Error('Set HEEDFUL to the built program, or HEEDFUL_URL to the address of a running explorer.');
  const child = spawn(program, ['explore', '--port', '0', '--no-open', ...models.flatMap((file) => ['--model', file])], { stdio: ['ignore', 'pipe', 'pipe'] });
  return new Promise((resolve, reject) => {
    let said = '';
    const listen = (data: Buffer) => {
      said += data;
      const url = said.match(/http:\/\/[\w.:[\]]+\d+/)?.[0];
      if (url) resolve({ url: `${url}/`, process: child });
    };
    child.stdout!.on('data', listen);
    child.stderr!.on('data', listen);
    child.on('exit', (code) => reject(new Error(`The explorer ended with ${code}: ${said}`)));
  });
}

/** A page of the explorer; whatever it logs as an error fails the test. */
export async function inPage<T>(run: (page: Page) => Promise<T>, options: BrowserContextOptions = {}): Promise<T> {
  const context = await (await launch()).newContext({ viewport: { width: 1360, height: 900 }, baseURL: await explorer(), ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) errors.push(message.text());
  });
  try {
    const result = await run(page);
    if (errors.length) throw new Error(`The page reported: ${errors.join('\n')}`);
    return result;
  } finally {
    await context.close();
  }
}

export async function close() {
  await (await browser)?.close();
  const running = await server;
  running?.process?.removeAllListeners('exit');
  running?.process?.kill();
}

after(close);
