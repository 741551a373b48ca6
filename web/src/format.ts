/** How numbers are written. */

/** Four decimals, as the lecture prints; a minus sign as typographers set it. */
export function number(value: number, decimals = 4): string {
  if (value === -Infinity) return '−∞';
  if (Number.isNaN(value)) return '–';
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? (0).toFixed(decimals) : text.replace('-', '−');
}

export function percent(share: number, decimals = 0): string {
  return `${(share * 100).toFixed(decimals)} %`;
}

/** As few digits as say the number, for inputs. */
export function short(value: number): string {
  return String(Number(value.toPrecision(7)));
}

export const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
