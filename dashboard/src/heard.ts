/** Heard: when the service last said anything, on the stream or in an answer, by this machine's clock. */

let at = Date.now();

export function hear(): void {
  at = Date.now();
}

export function heardAt(): number {
  return at;
}
