/**
 * Whether the IOMMUs of a lab are such as their vendors make, and the caches of its sockets have the ways that are asked of them.
 */
import { architectureOf } from '../iommu/architectures.ts';
import type { LabProblem } from './check.ts';
import { HARDWARE_PRESET_IDS } from './hardwarePresets.ts';
import { suggestNames } from './nearestNames.ts';
import { curveFlaw } from './partPreset.ts';
import type { Part } from './schema.ts';

export function iommuProblems(parts: readonly Part[]): LabProblem[] {
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'iommu') return [];
    const path = `topology.parts[${part.id}]`;
    const problems: LabProblem[] = [];
    const refuse = (field: string, problem: string, remedy: string): void => {
      problems.push({ path: `${path}.${field}`, problem, remedy });
    };
    const { preset, iotlbReserved = 0, iotlbWays, iotlbEntries4K } = part;
    if (preset !== undefined && !HARDWARE_PRESET_IDS.includes(preset)) {
      refuse('preset', `there is no hardware preset "${preset}".`, suggestNames(preset, HARDWARE_PRESET_IDS));
    }
    const { measured } = part;
    const flaw = measured === undefined ? null : curveFlaw(measured);
    if (flaw !== null) refuse(`measured.${flaw.where}`, flaw.problem, flaw.remedy);
    if (iotlbReserved >= iotlbEntries4K) {
      refuse('iotlbReserved', `none of ${iotlbEntries4K} entries are left.`, 'Use fewer, or more iotlbEntries4K.');
    }
    const ways = Math.min(iotlbWays, iotlbEntries4K - iotlbReserved);
    if (part.iotlbReplacement === 'plru' && !Number.isInteger(Math.log2(ways))) {
      refuse(
        'iotlbReplacement',
        `pseudo-LRU needs a power of two of ways, not ${ways}.`,
        'Change iotlbWays, or use lru.',
      );
    }
    if (part.vendor !== undefined && part.vendor !== 'vtd') {
      const remedy = 'Use the vendor vtd, or leave the field out.';
      if (part.cachingMode === true) refuse('cachingMode', "caching mode is VT-d's.", remedy);
      if (part.scalableMode === true) refuse('scalableMode', "scalable mode is VT-d's.", remedy);
      if (part.coherent === false && part.vendor !== 'smmuv3') {
        const who = part.vendor === 'amd' ? "AMD's walkers look" : "Linux takes it that RISC-V's walkers look";
        refuse('coherent', `${who} into CPU caches, always.`, 'Use the vendor vtd or smmuv3, or leave the field out.');
      }
    }
    if (part.vendor !== 'smmuv3' && part.rangeInvalidation === true) {
      const remedy = 'Use the vendor smmuv3, or leave the field out.';
      refuse('rangeInvalidation', "commands for ranges of any length are the SMMU's.", remedy);
    }
    if ((part.vendor === 'smmuv3' || part.vendor === 'riscv') && part.superpages === false) {
      const remedy = 'Use the vendor vtd or amd, or leave the field out.';
      refuse('superpages', 'every page-table walker of this vendor knows large leaves.', remedy);
    }
    const { levels, dynamicTop } = architectureOf(part.vendor ?? 'vtd', part.scalableMode === true).format;
    if (!dynamicTop && !levels.includes(part.levels)) {
      const whose = part.scalableMode === true ? 'first-stage tables' : `tables of the vendor ${part.vendor ?? 'vtd'}`;
      refuse(
        'levels',
        `${whose} have ${levels.join(' or ')} levels, not ${part.levels}.`,
        `Use ${levels.join(' or ')}.`,
      );
    }
    return problems;
  });
}

export function cacheProblems(parts: readonly Part[]): LabProblem[] {
  return parts.flatMap((part): LabProblem[] => {
    if (part.kind !== 'socket' || part.lastLevelCache === undefined) return [];
    const { ways, deviceWays } = part.lastLevelCache;
    if (deviceWays <= ways) return [];
    const path = `topology.parts[${part.id}].lastLevelCache.deviceWays`;
    return [{ path, problem: `the cache has ${ways} ways.`, remedy: `Use at most ${ways}, or more ways.` }];
  });
}
