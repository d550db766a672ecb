/** Wire: what the service says, as `docs/api.md` describes it. Decimals are texts; null is not known. */

export type Decimal = string;
export type Time = string;

/** One of the accounts that are configured. */
export interface Summary {
  account: string;
  status: "ready" | "folding" | "recording_stopped" | "held_elsewhere";
  /** Who holds it, where another process does. */
  member?: string;
  may_operate?: boolean;
}

export interface Position {
  key?: string;
  symbol: string;
  position_side: string;
  state: "LONG" | "SHORT" | "FLAT";
  quantity: Decimal;
  entry_price: Decimal | null;
  current_price: Decimal | null;
  price_source: string | null;
  realized_pnl: Decimal;
  unrealized_pnl: Decimal | null;
  total_fees: Decimal | null;
  funding: Decimal | null;
  value_usd: Decimal | null;
  leverage: Decimal | null;
  liquidation_price: Decimal | null;
  liquidation_distance_pct: Decimal | null;
  margin_type: string | null;
  settlement_asset: string;
  fill_count: number;
  last_update: Time | null;
}

export interface Balance {
  asset: string;
  free: Decimal | null;
  locked: Decimal | null;
  total: Decimal | null;
  usd_value: Decimal | null;
  last_update: Time | null;
}

export interface PnL {
  timestamp: Time | null;
  realized_pnl: Decimal | null;
  unrealized_pnl: Decimal | null;
  total_pnl: Decimal | null;
  total_fees: Decimal | null;
  funding: Decimal | null;
  other: Decimal | null;
  net_pnl: Decimal | null;
  win_rate: Decimal | null;
  total_trades: number;
  winning_trades: number;
  losing_trades: number;
  profit_factor: Decimal | null;
  equity: Decimal | null;
  max_drawdown_pct: Decimal | null;
}

export interface Risk {
  equity: Decimal | null;
  margin_balance: Decimal | null;
  maintenance_margin: Decimal | null;
  margin_ratio: Decimal | null;
  leverage: Decimal | null;
  drawdown_pct: Decimal | null;
  return_pct: Decimal | null;
  peak_equity: Decimal | null;
  daily_loss: Decimal | null;
  available_margin: Decimal | null;
}

export interface Drift {
  kind: string;
  name: string;
  stated: Decimal;
  held: Decimal | null;
  difference: Decimal;
  causes: string[];
}

export interface Comparison {
  status: string;
  compared_at: Time | null;
  agreed_at: Time | null;
  interval_in_effect: string;
  drifts: Drift[];
  unexplained: { id: string; reason: string; since: Time }[];
  quarantined: { kind: string; name: string; reason: string; since: Time }[];
}

/** How an account stands to its limits and its exchange. */
export type Standing = Pick<Account, "risk" | "reconciliation" | "unpriced">;

export interface Account {
  account: string;
  epoch: number;
  seq: number;
  as_of: Time | null;
  pnl: PnL;
  balances: Record<string, Balance>;
  positions: Record<string, Position>;
  risk: Risk;
  reconciliation: Comparison | null;
  unpriced: string[];
  timestamp: Time;
}

export interface Fill {
  id: string;
  account: string;
  symbol: string;
  side: "BUY" | "SELL";
  quantity: Decimal;
  price: Decimal;
  fee: Decimal | null;
  fee_currency: string | null;
  position_side: string;
  maker: boolean | null;
  realized_pnl: Decimal | null;
  timestamp: Time;
  source: string;
  seq: number;
}

export interface Alert {
  id: string;
  account: string;
  type: string;
  severity: "INFO" | "WARNING" | "CRITICAL";
  state: "FIRING" | "RESOLVED";
  symbol: string | null;
  message: string;
  timestamp: Time;
  resolved_at: Time | null;
  acked_by: string | null;
  acked_at: Time | null;
}

export interface Reconciliation {
  id: string;
  account: string;
  seq: number;
  timestamp: Time;
  trigger: string;
  drifts: Drift[];
  findings: { event: string; cause: string }[];
  finding_count: number;
  correction: string | null;
  taken_back: string[];
}

export interface Check {
  status: "healthy" | "degraded" | "unhealthy";
  message: string;
  since: Time;
}

export interface Health {
  status: Check["status"];
  version: string;
  uptime: number;
  checks: Record<string, Check>;
}

export interface Bucket {
  timestamp: Time;
  first: Figures;
  last: Figures;
  min: Figures;
  max: Figures;
}

export interface Figures {
  equity: Decimal | null;
  net_pnl: Decimal | null;
}

export interface Explanation {
  from: Time | null;
  to: Time | null;
  equity_change: Decimal | null;
  causes: {
    trading: Decimal;
    rounding: Decimal;
    fees: Record<string, Decimal>;
    funding: Decimal;
    transfers: Decimal;
    other: Decimal;
    prices: Record<string, Decimal>;
    opening: Decimal;
    adjustments: Decimal;
    priced_later: Decimal;
  };
  residual: Decimal | null;
  entry_count: number;
}

export interface Scenario {
  equity: Decimal | null;
  margin_ratio: Decimal | null;
  leverage: Decimal | null;
  available_margin: Decimal | null;
}

export interface WhatIf {
  before: Scenario;
  after: Scenario;
  liquidated: { pool: string; after_pct: Decimal; positions: string[] }[];
}

interface Of<Type extends string, Data> {
  type: Type;
  account: string;
  epoch: number;
  seq: number;
  prev: number | null;
  timestamp: Time;
  data: Data;
}

export type AccountMessage =
  | Of<"snapshot", Account>
  | Of<"fill", Fill>
  | Of<"alert", Alert>
  | Of<"reconciliation", Reconciliation>
  | Of<"position_update", Position & { key: string }>
  | Of<"balance_update", Balance>
  | Of<"pnl_update", PnL>
  | Of<"risk_update", Standing>;

export interface HealthMessage {
  type: "health";
  account: null;
  timestamp: Time;
  data: Health;
}

export type Message = AccountMessage | HealthMessage;
