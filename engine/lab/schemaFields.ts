/**
 * Values that every part of the lab document is made of (schema.ts): names, counts, texts.
 */
import { z } from 'zod';
import { LIMITS } from './limits.ts';

// Compiled validators need `new Function`, which the renderer's content security policy refuses.
z.config({ jitless: true });

export const id = z
  .string()
  .min(1)
  .max(LIMITS.idLength)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'use letters, digits, ".", "_" and "-", first a letter or digit')
  .describe('A name that is unique among its neighbours and stands in paths.');

export const name = z.string().min(1).max(LIMITS.nameLength);
export const text = z.string().max(LIMITS.textLength);

export function count(minimum: number, maximum: number): z.ZodNumber {
  return z.number().int().min(minimum).max(maximum);
}

export function powerOfTwo(minimum: number, maximum: number): z.ZodNumber {
  return count(minimum, maximum).refine((value) => Number.isInteger(Math.log2(value)), 'must be a power of two');
}
