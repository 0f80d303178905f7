// A resolver that takes the version with the shortest text in a column, which the configuration names.

let place = 0;

export const describe = {
  describe() {
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['column'],
      properties: { column: { type: 'string' } },
    };
    return {
      name: 'shortest',
      version: '0.1.0',
      summary: 'The version with the shortest text in a column wins',
      configSchema: JSON.stringify(schema),
      facts: [],
    };
  },
};

export const resolver = {
  open(context) {
    const { column } = JSON.parse(context.config);
    place = context.table.columns.findIndex((known) => known.name === column);
    if (place < 0) throw { code: 'unknown-column', message: `\`${context.table.name}\` has no such column`, column };
    return { recorded: [], facts: [] };
  },

  resolve: (conflicts) => conflicts.map((conflict) => ({ tag: 'ok', val: { tag: 'take', val: shortest(conflict) } })),
};

function shortest(conflict) {
  let best = 0;
  conflict.versions.forEach((_, at) => {
    if (comesBefore(conflict, at, best)) best = at;
  });
  return best;
}

// Of equals the latest: nobody's place in the list may matter.
function comesBefore(conflict, one, other) {
  const [first, second] = [conflict.versions[one], conflict.versions[other]];
  if (length(first) !== length(second)) return length(first) < length(second);
  // 64 bits: a BigInt, which is compared exactly.
  if (first.time !== second.time) return first.time > second.time;
  return one === conflict.latest;
}

// In characters, not in the units of UTF-16 that `length` counts; a row without the text, or no row at all, has the shortest.
function length(version) {
  const value = version.row?.[place];
  return value?.tag === 'text' ? [...value.val].length : 0;
}
