/**
 * The page-indexed schemes by name. What the kernel profile does not have, and what cannot page on demand at all, is refused here.
 */
import type { DmaDevice } from '../../dma/device.ts';
import type { DmaApi } from '../../dma/dmaApi.ts';
import { LabError } from '../../time/labError.ts';
import type { PageScheme } from '../pageScheme.ts';
import type { SchemeName } from '../scheme.ts';
import { checkScheme } from '../schemes.ts';
import { HybridPages } from './hybridPages.ts';
import { IovaExportPages } from './iovaExportPages.ts';
import { MapPhysPages } from './mapPhysPages.ts';
import { MapSgPages } from './mapSgPages.ts';
import { RfcLinkPages } from './rfcLinkPages.ts';
import { TwoStepPages } from './twoStepPages.ts';
import { TwoStepPerPagePages } from './twoStepPerPagePages.ts';
import { UniformPages } from './uniformPages.ts';
import { UniformSplitPages } from './uniformSplitPages.ts';

export function createPageScheme(name: SchemeName, dma: DmaApi, device: DmaDevice, where: string): PageScheme {
  checkScheme(name, dma.profile, where);
  switch (name) {
    case 'map_sg':
      return new MapSgPages(dma, device);
    case 'map_phys':
      return new MapPhysPages(dma, device);
    case 'two_step':
      return new TwoStepPages(dma, device);
    case 'two_step_per_page':
      return new TwoStepPerPagePages(dma, device);
    case 'rfc_link_range':
      return new RfcLinkPages(dma, device);
    case 'uniform_only':
      return new UniformPages(dma, device);
    case 'uniform_split':
      return new UniformSplitPages(dma, device);
    case 'hybrid':
      return new HybridPages(dma, device);
    case 'iova_export':
      return new IovaExportPages(dma, device);
    case 'premapped':
      throw new LabError(
        where,
        'The scheme "premapped" pins and maps a region before its first use, and on-demand paging pins nothing.',
        'Choose another scheme, for example "two_step_per_page", or register the region without on-demand paging.',
      );
  }
}
