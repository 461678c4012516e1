/** A first-in, first-out queue of numbers in a ring that grows when it is full and allocates nothing else. */
const FIRST_CAPACITY = 64;

export class Fifo {
  length = 0;
  private items = new Float64Array(FIRST_CAPACITY);
  private head = 0;

  push(item: number): void {
    if (this.length === this.items.length) this.grow();
    this.items[(this.head + this.length) % this.items.length] = item;
    this.length += 1;
  }

  /** The oldest; the queue must not be empty. */
  first(): number {
    return this.items[this.head]!;
  }

  shift(): number {
    const item = this.items[this.head]!;
    this.head = (this.head + 1) % this.items.length;
    this.length -= 1;
    return item;
  }

  private grow(): void {
    const items = new Float64Array(this.items.length * 2);
    for (let index = 0; index < this.length; index += 1) {
      items[index] = this.items[(this.head + index) % this.items.length]!;
    }
    this.items = items;
    this.head = 0;
  }
}
