/**
 * What a recording's run.json says of the recorded machine, and how the kernel reads its command line (Linux
 * kernel/params.c: the last of equal words counts; lib/kstrtox.c `kstrtobool`). Who needs more fields extends the schema.
 */
import { z } from 'zod';
import { LabError } from '../time/labError.ts';

export const runJsonSchema = z.object({
  kernel: z.string().max(200),
  commandLine: z.string().max(4096),
  iommu: z.string().max(200).nullish(),
  cpus: z.int().min(1).max(1024),
});

const REMEDY = 'It is an object with kernel, commandLine, iommu and cpus.';

/** Throws, with `where` before it, when the text is not what the schema asks for. */
export function parseRunJson<Schema extends z.ZodType>(where: string, text: string, schema: Schema): z.infer<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new LabError(where, 'this is not JSON.', REMEDY);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue?.path.join('.') ?? '';
  throw new LabError(where, `${place === '' ? 'the object' : place}: ${issue?.message ?? 'not as expected'}.`, REMEDY);
}

export function commandLineWords(commandLine: string): readonly string[] {
  return commandLine.split(/\s+/);
}

/** The value of the last `key=value`; null without one. */
export function lastValue(words: readonly string[], key: string): string | null {
  const found = words.findLast((word) => word.startsWith(`${key}=`));
  return found === undefined ? null : found.slice(key.length + 1);
}

export function isOn(value: string | null): boolean {
  return value !== null && ['1', 'y', 'Y', 'on', 'yes', 'true'].includes(value);
}
