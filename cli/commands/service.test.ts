import { unitText } from "./service";

test("the unit restarts the daemon alone, and paths with blanks and percent signs survive", () => {
  expect(
    unitText({ node: "/opt/my node/bin/node", program: "/srv/a%b/warren.js", home: "/var/lib/warren", system: true }),
  ).toBe(
    `[Unit]
Description=Warren: private networks for apps
After=network-online.target
Wants=network-online.target

[Service]
ExecStart="/opt/my node/bin/node" "/srv/a%%b/warren.js" serve --stay
Environment="WARREN_HOME=/var/lib/warren"
Restart=always
RestartSec=1
KillMode=process

[Install]
WantedBy=multi-user.target
`,
  );
});
