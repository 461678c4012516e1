/**
 * What the mail asks for: an API that takes a hodgepodge, and a caller that knows better may say that its memory is of one kind. Then the first
 * vector is asked for all of them, as the block layer does with a request that it kept uniform while it was built (block/blk-merge.c; Linux
 * block/blk-mq-dma.c `blk_rq_dma_map_iter_start`). Without the hint it is the two-step API with a question for each vector.
 */
import type { MappingRequest } from './mappingRequest.ts';
import { TwoStepScheme } from './twoStep.ts';

export class HybridScheme extends TwoStepScheme {
  override readonly name = 'hybrid';

  protected override knownUniform(request: MappingRequest): boolean {
    return request.uniform;
  }
}
