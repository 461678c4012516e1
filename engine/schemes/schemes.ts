/**
 * The mapping schemes by name. A scheme that the kernel profile cannot run is refused here, before anything runs.
 */
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { KernelProfile } from '../dma/kernels/profiles.ts';
import { LabError } from '../time/labError.ts';
import { MapPhysScheme } from './mapPhys.ts';
import { MapSgScheme } from './mapSg.ts';
import { PremappedScheme } from './premapped.ts';
import type { MappingScheme, SchemeName } from './scheme.ts';
import { TwoStepScheme } from './twoStep.ts';
import { TwoStepPerPageScheme } from './twoStepPerPage.ts';

/** Whether a scheme is made of calls that came with Linux 6.16. */
export function needsTwoStep(name: SchemeName): boolean {
  return name === 'two_step' || name === 'two_step_per_page';
}

/** Throws a LabError when the kernel of `profile` has no such scheme. */
function checkScheme(name: SchemeName, profile: KernelProfile, where: string): void {
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
  }
}
