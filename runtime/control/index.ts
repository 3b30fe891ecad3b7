export type { AgentStatus, AgentView, LogOptions, NamesView } from "./agent-view";
export { type Control, type ControlOptions, createControl } from "./control";
export { realTimers, type Timers } from "./desired-state";
export { Registry } from "./registry";
export { sourceHash } from "./sources";
