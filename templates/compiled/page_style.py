# page_style.css.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 3151031792

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'page_style.css.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_colours = resolve('colours')
    pass
    yield ':root {\n  color-scheme: light dark;\n'
    for (l_1_name, l_1_value) in context.call(environment.getattr((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'items')):
        _loop_vars = {}
        pass
        yield '  --'
        yield str(l_1_name)
        yield ': '
        yield str(l_1_value)
        yield ';\n'
    l_1_name = l_1_value = missing
    yield '  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;\n}\n:root[data-theme="light"] { color-scheme: light; }\n:root[data-theme="dark"] { color-scheme: dark; }\n* { box-sizing: border-box; }\nbody { margin: 0 auto; max-width: 76rem; padding: 1rem clamp(.75rem, 3vw, 2.5rem) 3rem; background: var(--ground); color: var(--ink); overflow-wrap: anywhere; }\nheader { display: flex; gap: 1rem; align-items: flex-start; justify-content: space-between; }\nh1 { font-size: 1.6rem; line-height: 1.25; margin: .25rem 0; }\nh2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--grid); }\nh3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }\np { margin: .4rem 0; max-width: 50rem; }\nnav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .8rem 0 0; }\na { color: var(--line-0); text-decoration: none; }\na:hover { text-decoration: underline; }\nbutton { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; }\n:focus-visible { outline: 2px solid var(--line-0); outline-offset: 2px; }\n#theme { flex: none; font-size: .85rem; color: var(--faint); border: 1px solid var(--grid); border-radius: .4rem; padding: .2rem .6rem; }\n.note, figcaption, small, dt { color: var(--faint); font-size: .87rem; }\n.good { color: var(--good); }\n.bad { color: var(--bad); }\np.good, p.bad { font-weight: 600; }\np.trouble { border-left: 3px solid var(--bad); padding-left: .7rem; }\npre { margin: .5rem 0; padding: .6rem .8rem; border: 1px solid var(--grid); border-radius: .4rem; overflow-x: auto; font: .85rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; }\ndl { margin: .5rem 0; }\ndl > div { display: grid; grid-template-columns: minmax(7rem, 11rem) 1fr; gap: .8rem; padding: .12rem 0; }\ndd { margin: 0; min-width: 0; }\ndl.large { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: .8rem 0; }\ndl.large > div { display: block; }\ndl.large dd { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }\ndl.large small { display: block; line-height: 1.4; }\n.wide { overflow-x: auto; margin: .5rem 0; }\ntable { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; overflow-wrap: normal; }\nth, td { padding: .22rem 1.1rem .22rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); max-width: 34rem; overflow-wrap: break-word; }\nth { color: var(--faint); font-weight: 600; white-space: nowrap; }\nth[aria-sort="ascending"] button::after { content: " \\2191"; }\nth[aria-sort="descending"] button::after { content: " \\2193"; }\nth button { font-weight: inherit; }\n.right { text-align: right; }\nsummary { cursor: pointer; font-weight: 600; margin: .8rem 0 .4rem; }\nfigure { margin: .8rem 0; }\n.chart { min-width: 0; }\n.plot { position: relative; overflow-x: auto; overflow-y: hidden; min-height: 4rem; }\n.plot svg { display: block; }\n.rule { position: absolute; width: 1px; background: var(--faint); pointer-events: none; }\n.tip { position: absolute; z-index: 2; padding: .25rem .55rem; border: 1px solid var(--grid); border-radius: .35rem; background: var(--ground); font-size: .82rem; line-height: 1.35; white-space: nowrap; pointer-events: none; font-variant-numeric: tabular-nums; }\n.tip[hidden], .rule[hidden] { display: none; }\n.images { display: flex; flex-wrap: wrap; gap: .8rem; }\n.images figure { margin: 0; max-width: 12rem; }\n.images img { display: block; max-width: 100%; image-rendering: auto; }\nsvg { max-width: none; }\n#vg-tooltip-element { position: fixed; visibility: hidden; z-index: 9; padding: .35rem .6rem; border: 1px solid var(--grid); border-radius: .35rem; background: var(--ground); color: var(--ink); font-size: .85rem; pointer-events: none; box-shadow: 0 2px 8px #0003; max-width: min(32rem, 90vw); }\n#vg-tooltip-element.visible { visibility: visible; }\n#vg-tooltip-element td { border: 0; padding: 0 .4rem 0 0; }\n#vg-tooltip-element td.key { color: var(--faint); }\n@media (max-width: 600px) {\n  dl:not(.large) > div { display: block; padding: .25rem 0; }\n}\n@media print {\n  :root, :root[data-theme] { color-scheme: light; font-size: 10pt; }\n  body { max-width: none; padding: 0; }\n  nav, #theme, .hint { display: none; }\n  h2, h3 { break-after: avoid; }\n  figure, tr, dl > div { break-inside: avoid; }\n  .wide, .plot { overflow: visible; }\n}\n'

blocks = {}
debug_info = '3=13&4=17'
