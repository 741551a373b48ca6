/** What a saved page carries instead of a server: the address it was saved at and the answers that its view asked for. */
export interface Recorded {
  address: string;
  saved: string;
  answers: Record<string, unknown>;
}

const element = document.getElementById('recorded');

/** The recording, if this page is a saved one. */
export const recorded: Recorded | null = element ? (JSON.parse(element.textContent ?? 'null') as Recorded) : null;
