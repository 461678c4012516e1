/**
 * An API that takes memory of one kind at a time, as Hellwig proposed in the thread: boundaries between kinds are the caller's, who gets
 * them from a `pin_user_pages` that stops there. A region of one kind is mapped as by the two-step API, with one question. A mixed one is
 * refused, and the refusal says where the first boundary lies, so that the caller can make several regions of it.
 */
import type { MappedRequest } from './mappedRequest.ts';
import type { MappingRequest } from './mappingRequest.ts';
import { inWords, wayOf } from './peerVectors.ts';
import { TwoStepScheme } from './twoStep.ts';

export class UniformOnlyScheme extends TwoStepScheme {
  override readonly name = 'uniform_only';

  protected override accepts(request: MappingRequest, mapped: MappedRequest): boolean {
    const boundary = firstBoundary(request, mapped);
    if (boundary === -1) return true;
    const before = inWords(wayOf(mapped, boundary - 1));
    const after = inWords(wayOf(mapped, boundary));
    mapped.refuse(
      `Vector ${boundary}, at physical address 0x${request.vectorPhys[boundary]!.toString(16)}, is ${after}, and what lies before it is ` +
        `${before}: an API for memory of one kind cannot map both at once. Register a region for each kind, or map in transactions.`,
    );
    mapped.boundary = boundary;
    return false;
  }
}

/** The first vector that is reached in another way than the one before; -1: all are of one kind. */
function firstBoundary(request: MappingRequest, mapped: MappedRequest): number {
  for (let index = 1; index < request.vectorCount; index += 1) {
    if (wayOf(mapped, index) !== wayOf(mapped, index - 1)) return index;
  }
  return -1;
}
