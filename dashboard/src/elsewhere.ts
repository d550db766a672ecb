/** Elsewhere: accounts that other replicas hold, and where to ask about them. */

export interface Holding {
  account: string;
  /** Who holds it; null: nobody does now. */
  member: string | null;
  address: string | null;
  here: boolean;
}

/** The accounts of one other replica. */
export interface Elsewhere {
  member: string;
  /** Where its page is; null: it does not say. */
  address: string | null;
  accounts: string[];
}

/** Which accounts others hold, by who holds them. */
export function elsewhere(holdings: readonly Holding[]): Elsewhere[] {
  const found = new Map<string, Elsewhere>();
  for (const { account, member, address, here } of holdings) {
    if (here || member === null) continue;
    const place = `${member} ${address ?? ""}`;
    const known = found.get(place) ?? { member, address: isPage(address) ? address : null, accounts: [] };
    known.accounts.push(account);
    found.set(place, known);
  }
  return [...found.values()].sort((one, other) => one.member.localeCompare(other.member));
}

/** Whether an address that another process gives is one to lead people to. */
function isPage(address: string | null): boolean {
  return address !== null && /^https?:\/\//.test(address);
}
