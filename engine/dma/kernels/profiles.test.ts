import { describe, expect, test } from 'vitest';
import { KERNEL_PROFILE_NAMES, kernelProfile, kernelProfileSheet, kernelProfileTitle } from './profiles.ts';

describe('kernel profiles', () => {
  test.each(KERNEL_PROFILE_NAMES)('%s names the origin of every behaviour', (name) => {
    const profile = kernelProfile(name);
    const sheet = kernelProfileSheet(name);
    expect(sheet.map(({ behaviour }) => behaviour)).toEqual(Object.keys(profile).filter((key) => key !== 'name'));
    for (const { behaviour, value, source } of sheet) {
      expect(value).toBe(String(profile[behaviour]));
      expect(source).not.toBe('');
    }
  });

  test('are called recorded only for kernels of which there are recordings', () => {
    const recorded = KERNEL_PROFILE_NAMES.filter((name) =>
      kernelProfileSheet(name).some((line) => line.mark === 'recorded'),
    );
    expect(recorded).toEqual(['6.12', '6.17', '7.2', '7.3']);
  });

  test('lose the invalidation hint in 6.16 alone, the one kernel here that never got the fix of October 2025', () => {
    const losing = KERNEL_PROFILE_NAMES.filter((name) => !kernelProfile(name).givesInvalidationHint);
    expect(losing).toEqual(['6.16']);
    const lines = KERNEL_PROFILE_NAMES.flatMap((name) => kernelProfileSheet(name)).filter(
      ({ behaviour }) => behaviour === 'givesInvalidationHint',
    );
    expect(lines.map(({ mark }) => mark)).not.toContain('assumed');
  });

  test('of the ideal kernel are definitions, and have no defect of destroy', () => {
    expect(new Set(kernelProfileSheet('ideal').map((line) => line.mark))).toEqual(new Set(['chosen']));
    const { destroyFreesWholeRange, destroyUsesFlushQueue } = kernelProfile('ideal');
    expect([destroyFreesWholeRange, destroyUsesFlushQueue]).toEqual([true, true]);
    expect(kernelProfileTitle('ideal')).toBe('Ideal kernel');
    expect(kernelProfileTitle('7.2')).toBe('Linux 7.2');
  });
});
