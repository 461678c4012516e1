/**
 * The in-page part of an address for hot paths: `address & PAGE_OFFSET`. Exact for every non-negative integer below 2^53,
 * because `&` takes a number modulo 2^32 and a page divides that; `%` on numbers beyond 32 bits is many times slower.
 */
import { PAGE_SIZE } from '../memory/addresses.ts';

export const PAGE_OFFSET = PAGE_SIZE - 1;
