/**
 * Reads JSON that a stranger wrote: bounded in size, depth and number of values, and without keys that would reach into the
 * prototype of an object. Runs before any schema, so that a schema never walks something boundless.
 */
import { LabError } from '../time/labError.ts';
import { LIMITS } from './limits.ts';

/** Names may be as long as the text; nobody reads such a place. */
const LONGEST_PLACE = 400;
const REFUSED_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

export function parseHostileJson(text: string, where: string, maxBytes: number = LIMITS.documentBytes): unknown {
  if (text.length > maxBytes)
    throw new LabError(
      where,
      `it has ${text.length} characters, more than the ${maxBytes} allowed.`,
      'Remove what is not part of the lab.',
    );
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, 200) : 'unreadable';
    throw new LabError(
      where,
      `this is not JSON (${reason}).`,
      'Repair the text, or take it from a whole copy of the file.',
    );
  }
  refuseHostile(value, where);
  return value;
}

/** The same bounds for a value that came by another way, such as an edit from the window. */
export function refuseHostile(value: unknown, where: string): void {
  let values = 0;
  const stack: { value: unknown; depth: number; path: string }[] = [{ value, depth: 0, path: '' }];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    values += 1;
    if (values > LIMITS.values)
      throw new LabError(where, `it holds more than ${LIMITS.values} values.`, 'Split the lab.');
    if (top.value === null || typeof top.value !== 'object') continue;
    if (top.depth >= LIMITS.depth)
      throw new LabError(
        place(where, top.path),
        `it is nested deeper than ${LIMITS.depth} levels.`,
        'No part of a lab is that deep.',
      );
    const members = Object.entries(top.value);
    if (members.length > LIMITS.values)
      throw new LabError(place(where, top.path), `it holds more than ${LIMITS.values} values.`, 'Shorten it.');
    for (const [key, member] of members) {
      if (REFUSED_KEYS.has(key))
        throw new LabError(place(where, top.path), `the name "${key}" is not allowed.`, 'Remove it.');
      const path = Array.isArray(top.value) ? `${top.path}[${key}]` : top.path === '' ? key : `${top.path}.${key}`;
      stack.push({ value: member, depth: top.depth + 1, path });
    }
  }
}

function place(where: string, path: string): string {
  return path === '' ? where : `${where}: ${path.slice(0, LONGEST_PLACE)}`;
}
