// A filter that keeps the rows with one of some texts in a column, both of which the configuration names.
import type { Result, Verdict } from 'concord:plugin/filter@0.1.0';
import type { Context, Problem, Row, Value } from 'concord:plugin/types@0.1.0';

let values = new Set<string>();

export const describe: typeof import('concord:plugin/describe@0.1.0') = {
  describe() {
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['column', 'values'],
      properties: { column: { type: 'string' }, values: { type: 'array', items: { type: 'string' } } },
    };
    return {
      name: 'region',
      version: '0.1.0',
      summary: 'Rows with one of some texts in a column belong at the node',
      configSchema: JSON.stringify(schema),
      facts: [],
    };
  },
};

export const filter: typeof import('concord:plugin/filter@0.1.0') = {
  open(context: Context): string[] {
    const config = JSON.parse(context.config) as { column: string; values: string[] };
    const { column } = config;
    if (!context.table.columns.some((known) => known.name === column)) {
      const problem: Problem = { code: 'unknown-column', message: `\`${context.table.name}\` has no such column`, column };
      throw problem;
    }
    values = new Set(config.values);
    // Of each row it is shown this one value.
    return [column];
  },

  judge(rows: Row[]): Result<Verdict, Problem>[] {
    return rows.map(([value]) => ({ tag: 'ok', val: { tag: belongs(value!) ? 'keep' : 'drop' } }));
  },
};

function belongs(value: Value): boolean {
  return value.tag === 'text' && values.has(value.val);
}
