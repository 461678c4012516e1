/**
 * What a message carries: a pattern that no other message has, by which it is known to the byte wherever it turns up.
 */
import { fillPattern, MAX_GENERATION, PATTERN_BYTES, patternTag } from '../memory/dataPattern.ts';

const WORDS = PATTERN_BYTES / 4;

export class RdmaContents {
  /** Of the message of the last `make`. */
  readonly bytes: Uint8Array;
  /** For what was found. */
  readonly found: Uint8Array;
  private readonly blocks: number;
  private readonly words: Uint32Array;
  private readonly foundWords: Uint32Array;
  /** What lies behind the message up to the end of its last block. */
  private readonly rest: Uint8Array;

  constructor(messageBytes: number) {
    this.blocks = Math.ceil(messageBytes / PATTERN_BYTES);
    this.words = new Uint32Array(this.blocks * WORDS);
    this.foundWords = new Uint32Array(this.blocks * WORDS);
    this.rest = new Uint8Array(this.words.buffer, messageBytes);
    this.bytes = new Uint8Array(this.words.buffer, 0, messageBytes);
    this.found = new Uint8Array(this.foundWords.buffer, 0, messageBytes);
  }

  /** `generation`: which registration of its region it is for. */
  make(message: number, generation: number): void {
    const { words, blocks } = this;
    const tagged = generation % (MAX_GENERATION + 1);
    for (let block = 0; block < blocks; block += 1) {
      fillPattern(words, block * WORDS, patternTag(message * blocks + block, tagged));
    }
    this.rest.fill(0);
  }

  /** Blocks of 512 bytes in which `found` is not what `make` made. */
  differences(): number {
    const { words, foundWords, blocks } = this;
    let different = 0;
    for (let block = 0; block < blocks; block += 1) {
      const end = (block + 1) * WORDS;
      let word = block * WORDS;
      while (word < end && words[word] === foundWords[word]) word += 1;
      if (word < end) different += 1;
    }
    return different;
  }
}
