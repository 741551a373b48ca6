/** The numbers of what is shown, as tables: for screen readers, and for whoever would rather read than look. */
import { number } from '../format.ts';
import { current, revision, type DataTable } from '../export/exportable.ts';

const MOST_ROWS = 400;

export function TableView() {
  revision.value; // Tables follow what is shown.
  const tables = current.value?.tables() ?? [];
  return (
    <section class="tables" aria-label="Numbers as tables" data-testid="tables">
      {tables.length === 0 && <p>Nothing is shown yet.</p>}
      {tables.map((table) => <NumberTable key={table.title} table={table} />)}
    </section>
  );
}

function NumberTable({ table }: { table: DataTable }) {
  const rows = table.rows.slice(0, MOST_ROWS);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={table.title}>
      <table class="numbers">
        <caption>{table.title}{rows.length < table.rows.length && ` (the first ${rows.length} of ${table.rows.length} rows; all of them are in the CSV file)`}</caption>
        <thead><tr>{table.columns.map((c, i) => <th key={i} scope="col">{c}</th>)}</tr></thead>
        <tbody>
          {rows.map((row, r) => (
            <tr key={r}>
              {row.map((cell, c) => {
                const content = typeof cell === 'number' ? (Number.isInteger(cell) ? String(cell) : number(cell)) : cell;
                return c === 0 ? <th key={c} scope="row">{content}</th> : <td key={c}>{content}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
