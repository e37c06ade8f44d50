# net_page.html.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 3207513678

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'net_page.html.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_dark = resolve('dark')
    l_0_source = resolve('source')
    l_0_title = resolve('title')
    l_0_style = resolve('style')
    l_0_svg = resolve('svg')
    l_0_nets = resolve('nets')
    l_0_data = resolve('data')
    l_0_script = resolve('script')
    try:
        t_1 = environment.filters['length']
    except KeyError:
        @internalcode
        def t_1(*unused):
            raise TemplateRuntimeError("No filter named 'length' found.")
    try:
        t_2 = environment.filters['safe']
    except KeyError:
        @internalcode
        def t_2(*unused):
            raise TemplateRuntimeError("No filter named 'safe' found.")
    try:
        t_3 = environment.filters['tojson']
    except KeyError:
        @internalcode
        def t_3(*unused):
            raise TemplateRuntimeError("No filter named 'tojson' found.")
    pass
    yield '<!DOCTYPE html>\n<html lang="en"'
    if (undefined(name='dark') if l_0_dark is missing else l_0_dark):
        pass
        yield ' data-theme="dark"'
    yield '>\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; script-src '
    yield escape((undefined(name='source') if l_0_source is missing else l_0_source))
    yield '; style-src \'unsafe-inline\'; img-src data:; base-uri \'none\'; form-action \'none\'">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n<meta name="generator" content="sqgen">\n<title>'
    yield escape((undefined(name='title') if l_0_title is missing else l_0_title))
    yield '</title>\n<link rel="icon" href="data:,">\n<style>'
    yield escape(t_2((undefined(name='style') if l_0_style is missing else l_0_style)))
    yield '</style>\n</head>\n<body>\n<header>\n<h1>'
    yield escape((undefined(name='title') if l_0_title is missing else l_0_title))
    yield '</h1>\n<label><span>search</span><input type="search" id="search" placeholder="name or type" autocomplete="off" spellcheck="false"></label>\n<output id="found"></output>\n<span class="zoom">\n<button type="button" id="smaller" title="zoom out (-)" aria-label="zoom out">&minus;</button>\n<button type="button" id="fit" title="fit the width (0)">fit width</button>\n<button type="button" id="larger" title="zoom in (+)" aria-label="zoom in">+</button>\n</span>\n<button type="button" id="theme" title="light or dark">light or dark</button>\n</header>\n<main>\n<div id="canvas" tabindex="0" aria-label="drawing">'
    yield escape(t_2((undefined(name='svg') if l_0_svg is missing else l_0_svg)))
    yield '</div>\n<aside>\n<div id="tables">\n'
    l_1_loop = missing
    for l_1_net, l_1_loop in LoopContext((undefined(name='nets') if l_0_nets is missing else l_0_nets), undefined):
        l_1_number = missing
        _loop_vars = {}
        pass
        l_1_number = environment.getattr(l_1_loop, 'index0')
        _loop_vars['number'] = l_1_number
        yield '<table>\n'
        if (t_1((undefined(name='nets') if l_0_nets is missing else l_0_nets)) > 1):
            pass
            yield '<caption>'
            yield escape(environment.getattr(l_1_net, 'name'))
            yield '</caption>\n'
        yield '<thead><tr><th scope="col">layer</th><th scope="col">type</th><th scope="col">top</th><th scope="col">parameters</th><th scope="col">MACs</th><th scope="col">bytes</th></tr></thead>\n<tbody>\n'
        for l_2_row in environment.getattr(l_1_net, 'rows'):
            _loop_vars = {}
            pass
            yield '<tr data-net="'
            yield escape((undefined(name='number') if l_1_number is missing else l_1_number))
            yield '" data-layer="'
            yield escape(environment.getattr(l_2_row, 'layer'))
            yield '" data-block="'
            yield escape(environment.getattr(l_2_row, 'block'))
            yield '"'
            if environment.getattr(l_2_row, 'mark'):
                pass
                yield ' class="'
                yield escape(environment.getattr(l_2_row, 'mark'))
                yield '"'
            yield ' tabindex="0"><td>'
            yield escape(environment.getattr(l_2_row, 'name'))
            yield '</td><td>'
            yield escape(environment.getattr(l_2_row, 'type'))
            yield '</td><td>'
            yield escape(environment.getattr(l_2_row, 'out'))
            yield '</td>'
            for (l_3_value, l_3_text) in environment.getattr(l_2_row, 'numbers'):
                _loop_vars = {}
                pass
                yield '<td>'
                yield escape((l_3_text if (l_3_value != 0) else cond_expr_undefined("the inline if-expression on line 38 in 'net_page.html.j2' evaluated to false and no else section was defined.")))
                yield '</td>'
            l_3_value = l_3_text = missing
            yield '</tr>\n'
        l_2_row = missing
        yield '</tbody>\n<tfoot><tr><td>total'
        if environment.getattr(l_1_net, 'is_partial'):
            pass
            yield ' at least'
        yield '</td><td></td><td></td>'
        for l_2_total in environment.getattr(l_1_net, 'totals'):
            _loop_vars = {}
            pass
            yield '<td>'
            yield escape(l_2_total)
            yield '</td>'
        l_2_total = missing
        yield '</tr></tfoot>\n</table>\n'
    l_1_loop = l_1_net = l_1_number = missing
    yield '</div>\n<section id="details" aria-live="polite"><p>Select a box or a row to see its prototxt.</p></section>\n</aside>\n</main>\n<div id="hint" role="tooltip"></div>\n<script type="application/json" id="layers">'
    yield escape(t_3(context.eval_ctx, (undefined(name='data') if l_0_data is missing else l_0_data)))
    yield '</script>\n<script>'
    yield escape(t_2((undefined(name='script') if l_0_script is missing else l_0_script)))
    yield '</script>\n</body>\n</html>\n'

blocks = {}
debug_info = '2=38&5=42&9=44&11=46&15=48&26=50&29=53&30=57&32=60&33=63&37=66&38=70&41=98&49=112&50=114'
