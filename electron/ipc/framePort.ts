/*
 * The name under which main hands the page's end of the frame port over. In a file of its own, since the preload has no
 * other value to import: the contract's schemas stay out of it.
 */
export const framePortChannel = 'event.framePort';
