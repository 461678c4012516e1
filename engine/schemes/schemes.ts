/**
 * The mapping schemes by name. A scheme that the kernel profile cannot run is refused here, before anything runs.
 */
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { KernelProfile } from '../dma/kernels/profiles.ts';
import { LabError } from '../time/labError.ts';
import { HybridScheme } from './hybrid.ts';
import { IovaExportScheme } from './iovaExport.ts';
import { MapPhysScheme } from './mapPhys.ts';
import { MapSgScheme } from './mapSg.ts';
import { PremappedScheme } from './premapped.ts';
import { RfcLinkRangeScheme } from './rfcLinkRange.ts';
import type { MappingScheme, SchemeName } from './scheme.ts';
import { TwoStepScheme } from './twoStep.ts';
import { TwoStepPerPageScheme } from './twoStepPerPage.ts';
import { UniformOnlyScheme } from './uniformOnly.ts';
import { UniformSplitScheme } from './uniformSplit.ts';

const OF_TWO_STEP_CALLS: ReadonlySet<SchemeName> = new Set([
  'two_step',
  'two_step_per_page',
  'uniform_only',
  'uniform_split',
  'hybrid',
]);

const OF_NO_KERNEL: ReadonlySet<SchemeName> = new Set(['rfc_link_range', 'iova_export']);

/** Whether a scheme is made of calls that came with Linux 6.16. */
export function needsTwoStep(name: SchemeName): boolean {
  return OF_TWO_STEP_CALLS.has(name);
}

/** Whether a scheme is made of calls that were proposed and never merged: a checker of the kernel's API knows nothing of them. */
export function isOfNoKernel(name: SchemeName): boolean {
  return OF_NO_KERNEL.has(name);
}

/** Throws a LabError when the kernel of `profile` has no such scheme. */
export function checkScheme(name: SchemeName, profile: KernelProfile, where: string): void {
  if (!needsTwoStep(name) || profile.twoStepAvailable) return;
  throw new LabError(
    where,
    `Linux ${profile.name} has no dma_iova_* functions, so the scheme "${name}" cannot run on it.`,
    'Choose the scheme "map_sg", or a kernel profile from 6.17 on.',
  );
}

export function createScheme(
  name: SchemeName,
  dma: DmaApi,
  device: DmaDevice,
  profile: KernelProfile,
  where: string,
): MappingScheme {
  checkScheme(name, profile, where);
  switch (name) {
    case 'map_sg':
      return new MapSgScheme(dma, device);
    case 'map_phys':
      return new MapPhysScheme(dma, device);
    case 'two_step':
      return new TwoStepScheme(dma, device);
    case 'two_step_per_page':
      return new TwoStepPerPageScheme(dma, device);
    case 'premapped':
      return new PremappedScheme(dma, device);
    case 'rfc_link_range':
      return new RfcLinkRangeScheme(dma, device);
    case 'uniform_only':
      return new UniformOnlyScheme(dma, device);
    case 'uniform_split':
      return new UniformSplitScheme(dma, device);
    case 'hybrid':
      return new HybridScheme(dma, device);
    case 'iova_export':
      return new IovaExportScheme(dma, device);
  }
}
