// Where the parts of the interface lie in memory, by the canonical ABI of components, and the answers in it.

// The places of parts in what holds them, and the sizes of elements, in bytes. A list or text is its address and, 4 on, its length;
// an option, result or variant begins with a byte that says which case it is.
export const COLUMN: usize = 28; // begins with its name
export const VALUE: usize = 24; // the payload is 8 on
export const VERSION: usize = 32, TIME: usize = 8, ROW: usize = 16; // of the row the list is 4 on
export const CONFLICT: usize = 44, VERSIONS: usize = 8, LATEST: usize = 16;
const ANSWER: usize = 44; // the resolution is 4 on, and its payload 8

// The cases of `value` by their place in the interface.
export const INTEGER: u8 = 2, TEXT: u8 = 6, BYTES: u8 = 7;

// The host puts arguments where this says.
export function cabi_realloc(old: usize, oldSize: usize, _align: usize, size: usize): usize {
  const block = heap.alloc(size);
  if (oldSize) memory.copy(block, old, oldSize);
  return block;
}

// Called once the host has read an answer: nothing is kept but what lies in variables.
export function answered(_answer: usize): void {
  heap.reset();
}

export function text(start: usize, length: usize): string {
  return String.UTF8.decodeUnsafe(start, length);
}

export function put(at: usize, words: string): void {
  const length = String.UTF8.byteLength(words), bytes = heap.alloc(length);
  String.UTF8.encodeUnsafe(changetype<usize>(words), words.length, bytes);
  store<usize>(at, bytes);
  store<usize>(at, length, 4);
}

// With every byte 0: the first case of variants, and lists that are empty.
export function reserve(size: usize): usize {
  const block = heap.alloc(size);
  memory.fill(block, 0, size);
  return block;
}

export function description(name: string, summary: string, schema: string): usize {
  const answer = reserve(40);
  put(answer, name);
  put(answer + 8, '0.1.0');
  put(answer + 16, summary);
  put(answer + 24, schema);
  return answer;
}

// What `open` answers of a resolver without wishes.
export function needsNothing(): usize {
  return reserve(44);
}

// A problem, as a result 4 before its parts: code, message, column, hint.
export function problem(result: usize, code: string, message: string, column: string): void {
  store<u8>(result, 1);
  put(result + 4, code);
  put(result + 12, message);
  store<u8>(result, 1, 20);
  put(result + 24, column);
}

export function refuses(code: string, message: string, column: string): usize {
  const result = reserve(44);
  problem(result, code, message, column);
  return result;
}

// The answers to so many conflicts: where the list lies, then its length.
export function answers(count: usize): usize {
  const list = reserve(8);
  store<usize>(list, reserve(count * ANSWER));
  store<usize>(list, count, 4);
  return list;
}

export function answer(answers: usize, at: usize): usize {
  return load<usize>(answers) + at * ANSWER;
}

export function take(answers: usize, at: usize, version: u32): void {
  store<u32>(answer(answers, at), version, 8);
}

export function merged(answers: usize, at: usize, row: usize, count: usize): void {
  const result = answer(answers, at);
  store<u8>(result, 1, 4);
  store<usize>(result, row, 8);
  store<usize>(result, count, 12);
}

export function remove(answers: usize, at: usize): void {
  store<u8>(answer(answers, at), 2, 4);
}
