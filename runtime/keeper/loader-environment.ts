/**
 * The variables of an app that change what any program loads. The programs that enter a sandbox and give up root (nsenter, setpriv) run
 * with an app's environment, since an argument list is no place for its secrets; but not with these: with LD_PRELOAD an app's library
 * would run as root. env(1), which is the app's account by then, sets them.
 */

/** What ld.so(8) and glibc ignore in programs with more power than their caller (sysdeps/generic/unsecvars.h). */
const LOADING =
  /^(LD_.*|MALLOC_.*|GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS|TMPDIR|TZDIR)$/;

export interface SplitEnvironment {
  /** For the programs before the command. */
  readonly before: Record<string, string>;
  /** `NAME=VALUE`, for env(1). */
  readonly assignments: string[];
}

export function splitEnvironment(env: Readonly<Record<string, string>>): SplitEnvironment {
  const entries = Object.entries(env);
  return {
    before: Object.fromEntries(entries.filter(([name]) => !LOADING.test(name))),
    assignments: entries.filter(([name]) => LOADING.test(name)).map(([name, value]) => `${name}=${value}`),
  };
}
