/** @file How a report looks: light and dark, on screens of any width, on paper. */

export const REPORT_STYLE: string = `
:root{color-scheme:light dark;--ink:#1a1f29;--soft:#5d6778;--line:#e3e7ee;--page:#fff;--card:#f6f7fa;--a:#2159d6;--b:#c2410c;--c:#18794e;--d:#8e3bb0;--e:#8a6100;--f:#0b7285;--g:#5d6778;--good:#18794e;--bad:#c92a2a}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#9aa5b8;--line:#2e3541;--page:#12151b;--card:#1a1f28;--a:#7db1ff;--b:#ffa05c;--c:#6fdc9b;--d:#dd9bf5;--e:#e6c35c;--f:#66d9e8;--g:#b6bfce;--good:#5fd38d;--bad:#ff8080}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:52px}
body{margin:0 auto;max-width:1080px;padding:32px 24px 72px;font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:27px;line-height:1.25;margin:0 0 6px}h2{font-size:20px;margin:0 0 4px}h3{font-size:15px;margin:22px 0 6px}p{margin:4px 0 12px;max-width:76ch}a{color:var(--a)}
section{margin-top:44px;padding-top:18px;border-top:1px solid var(--line)}section:first-child{margin-top:14px;border:0}.soft,th,dt,small{color:var(--soft)}.verdict{font-size:17px}
nav{position:sticky;top:0;z-index:2;margin:18px -24px 0;padding:9px 24px;background:var(--page);border-bottom:1px solid var(--line);display:flex;flex-wrap:wrap;gap:2px 18px}nav a{text-decoration:none;font-size:13px;white-space:nowrap}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(135px,1fr));gap:10px;margin:20px 0 0}dl div{padding:9px 12px;border-radius:8px;background:var(--card)}dt{font-size:12px}dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.alarm,.calm{margin:16px 0 0;padding:10px 14px;border-radius:8px;background:var(--card);border-left:4px solid var(--good);max-width:none}.alarm{border-color:var(--bad)}.alarm p{margin:2px 0;max-width:none}.alarm p:first-child b{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px;margin:10px 0}.chart{margin:0;padding:12px 12px 8px;border-radius:10px;background:var(--card);max-width:520px}.chart figcaption{font-size:13px;min-height:44px}.chart p{margin:0 0 4px;font-size:12px;color:var(--soft);line-height:1.4}
svg{display:block;width:100%;height:auto}svg line{stroke:var(--line)}svg .base,svg .tick{stroke:var(--soft)}svg .level{stroke:var(--soft);stroke-dasharray:3 3}svg text{fill:var(--soft);font-size:11px}svg .value{font-weight:700}svg path{fill:none;stroke-width:1.8;stroke-linejoin:round}svg .faint{opacity:.32;stroke-width:1}
.stop rect{fill:transparent}.stop>g{opacity:0;pointer-events:none}.stop:hover>g{opacity:1}.stop line{stroke:var(--soft)}svg:has(.stop:hover) .last{opacity:0}
.scroll{overflow-x:auto;margin:8px 0}table{border-collapse:collapse}th{font-weight:500;font-size:12px;text-align:left;padding:3px}th[scope=row]{padding-right:10px;min-width:88px;max-width:130px;overflow-wrap:anywhere;line-height:1.3}
.pics td{padding:3px}.pics th[scope=col]{max-width:calc(var(--side) + 6px);line-height:1.3;vertical-align:bottom}.pics th[colspan]{color:var(--ink);font-weight:600;font-size:13px}.pics .start{padding-left:16px}.pic{position:relative;display:block;width:max-content}.pic img{display:block;object-fit:contain;border-radius:6px;background:var(--card)}.pixels img{image-rendering:pixelated}
.right img{outline:3px solid var(--good);outline-offset:-1px}.wrong img{outline:2px dashed var(--bad);outline-offset:-1px;opacity:.8}.pic i{position:absolute;right:-2px;bottom:-2px;width:16px;height:16px;border-radius:8px;font:700 11px/16px system-ui,sans-serif;text-align:center;color:#fff;background:#c92a2a}.right i{background:#18794e}
.bars td,.bars th{padding:5px 18px 5px 0;font-variant-numeric:tabular-nums;white-space:nowrap}.bar{display:inline-block;width:150px;height:11px;margin-right:9px;border-radius:3px;background:var(--line);vertical-align:-1px}.bar span{display:block;height:100%;border-radius:3px;background:var(--soft)}.strong{font-weight:700}.strong th{font-weight:700;color:var(--ink)}.strong .bar span{background:var(--a)}
.credits{font-size:12px;color:var(--soft);max-width:none}details{margin:10px 0}summary{cursor:pointer;color:var(--soft);font-size:13px}
.config td{padding:3px 16px 3px 0;font-size:13px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}.config th{padding-top:14px;font-weight:600;color:var(--ink)}.config td:nth-child(2){max-width:320px}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}pre{margin:2px 0 12px;padding:10px 12px;border-radius:8px;background:var(--card);overflow-x:auto}
@media(max-width:600px){body{padding:20px 14px 48px}nav{margin:14px -14px 0;padding:9px 14px}}@media print{nav{display:none}section{break-inside:avoid}}
`;
