// A filter that keeps the rows with one of some texts in a column.

let values = new Set();

export const describe = {
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

export const filter = {
  open(context) {
    const config = JSON.parse(context.config);
    if (!context.table.columns.some((known) => known.name === config.column)) {
      throw { code: 'unknown-column', message: `\`${context.table.name}\` has no such column`, column: config.column };
    }
    values = new Set(config.values);
    // Of each row it is shown this one value.
    return [config.column];
  },

  judge: (rows) => rows.map(([value]) => ({ tag: 'ok', val: { tag: belongs(value) ? 'keep' : 'drop' } })),
};

const belongs = (value) => value.tag === 'text' && values.has(value.val);
