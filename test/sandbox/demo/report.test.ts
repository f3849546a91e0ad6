import { expect, it } from "vitest";
import { Report } from "../../../sandbox/demo/report.ts";

function demo(make: (report: Report) => void) {
  const lines: string[] = [];
  const report = new Report((line) => lines.push(line));
  make(report);
  const whole = report.conclude({ checks: 2, seconds: 3 });
  return { whole, said: lines.join("\n") };
}

it("a demo holds only if each of its checks was made and held: one that silently disappears fails it", () => {
  const both = demo((report) => {
    report.check("one");
    report.check("two");
  });
  expect(both).toMatchObject({
    whole: true,
    said: expect.stringContaining("demo: all held: 2 checks held, 0 did not"),
  });
  const missing = demo((report) => report.check("one"));
  expect(missing.whole).toBe(false);
  expect(missing.said).toContain("2 checks belong to the demo, and 1 were made");
  const more = demo((report) => {
    for (const what of ["one", "two", "three"]) report.check(what);
  });
  expect(more.whole).toBe(false);
});

it("a check that found something wrong fails the demo, and is printed", () => {
  const { whole, said } = demo((report) => {
    report.check("one");
    report.check("two", ["a was lost"]);
  });
  expect(whole).toBe(false);
  expect(said).toContain("FAILED  two: 1 wrong\n          a was lost");
});
