/** A running explorer and a browser for the tests. `HEEDFUL` is the program; `CHROMIUM` the browser, by default Debian's. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { models } from './materials.ts';

interface Running {
  url: string;
  process: ChildProcess | null;
}

let browser: Promise<Browser> | undefined;
/** Without further models, and with them. */
const servers = new Map<boolean, Promise<Running>>();

const launch = () => (browser ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] }));

/** The page's address; with further models, they come first. `HEEDFUL_URL` names an explorer that runs already. */
export function explorer(further = false): Promise<string> {
  let server = servers.get(further);
  if (!server) {
    const url = further ? undefined : process.env.HEEDFUL_URL;
    server = url ? Promise.resolve({ url, process: null }) : start(further ? models : []);
    servers.set(further, server);
  }
  return server.then(({ url }) => url);
}

function start(files: readonly string[]): Promise<Running> {
  const program = process.env.HEEDFUL;
  if (!program) throw new Error('Set HEEDFUL to the built program, or HEEDFUL_URL to the address of a running explorer.');
  const child = spawn(program, ['explore', '--port', '0', '--no-open', ...files.flatMap((file) => ['--model', file])], { stdio: ['ignore', 'pipe', 'pipe'] });
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
export async function inPage<T>(run: (page: Page) => Promise<T>, options: BrowserContextOptions = {}, further = false): Promise<T> {
  const context = await (await launch()).newContext({ viewport: { width: 1360, height: 900 }, baseURL: await explorer(further), ...options });
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
  for (const server of servers.values()) {
    const { process: child } = await server;
    child?.removeAllListeners('exit');
    child?.kill();
  }
}
