/** What is wrong with a policy. */
export interface PolicyProblem {
  /** `error`: the policy cannot mean this | `warning`: it may. */
  readonly severity: "error" | "warning";
  /** The app in whose `allow` it is; absent: in the network's policy. */
  readonly app?: string;
  /** `policy[0].to[1]`, or `allow[0]` of the app. */
  readonly path: string;
  /** One sentence. */
  readonly message: string;
}
