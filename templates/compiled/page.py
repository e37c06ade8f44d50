# page.html.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 3256925489

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'page.html.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_dark = resolve('dark')
    l_0_hashes = resolve('hashes')
    l_0_page = resolve('page')
    l_0_style = resolve('style')
    l_0_scripts = resolve('scripts')
    l_0_chart = l_0_cell = l_0_rows = l_0_listed = missing
    try:
        t_1 = environment.filters['join']
    except KeyError:
        @internalcode
        def t_1(*unused):
            raise TemplateRuntimeError("No filter named 'join' found.")
    try:
        t_2 = environment.filters['length']
    except KeyError:
        @internalcode
        def t_2(*unused):
            raise TemplateRuntimeError("No filter named 'length' found.")
    try:
        t_3 = environment.filters['list']
    except KeyError:
        @internalcode
        def t_3(*unused):
            raise TemplateRuntimeError("No filter named 'list' found.")
    try:
        t_4 = environment.filters['rejectattr']
    except KeyError:
        @internalcode
        def t_4(*unused):
            raise TemplateRuntimeError("No filter named 'rejectattr' found.")
    try:
        t_5 = environment.filters['safe']
    except KeyError:
        @internalcode
        def t_5(*unused):
            raise TemplateRuntimeError("No filter named 'safe' found.")
    try:
        t_6 = environment.filters['tojson']
    except KeyError:
        @internalcode
        def t_6(*unused):
            raise TemplateRuntimeError("No filter named 'tojson' found.")
    try:
        t_7 = environment.tests['none']
    except KeyError:
        @internalcode
        def t_7(*unused):
            raise TemplateRuntimeError("No test named 'none' found.")
    try:
        t_8 = environment.tests['string']
    except KeyError:
        @internalcode
        def t_8(*unused):
            raise TemplateRuntimeError("No test named 'string' found.")
    pass
    def macro(l_1_each):
        t_9 = []
        l_1_specs = resolve('specs')
        if l_1_each is missing:
            l_1_each = undefined("parameter 'each' was not provided", name='each')
        pass
        t_9.extend((
            '<figure class="chart" id="',
            escape(environment.getattr(l_1_each, 'name')),
            '">\n',
        ))
        if ('log' in context.call(environment.getattr(environment.getattr(l_1_each, 'spec'), 'get'), 'usermeta', {})):
            pass
            t_9.append(
                '<button type="button" class="log hint" aria-pressed="false">log scale</button>\n',
            )
        t_9.extend((
            '<div class="plot" role="img" aria-label="',
            escape(environment.getattr(l_1_each, 'title')),
            '"></div>\n',
        ))
        if environment.getattr(l_1_each, 'note'):
            pass
            t_9.extend((
                '<figcaption>',
                escape(environment.getattr(l_1_each, 'note')),
                '</figcaption>\n',
            ))
        t_9.extend((
            '<script type="application/json">',
            escape(t_6(context.eval_ctx, environment.getitem((undefined(name='specs') if l_1_specs is missing else l_1_specs), environment.getattr(l_1_each, 'name')))),
            '</script>\n</figure>\n',
        ))
        return concat(t_9)
    context.exported_vars.add('chart')
    context.vars['chart'] = l_0_chart = Macro(environment, macro, 'chart', ('each',), False, False, False, context.eval_ctx.autoescape)
    def macro(l_1_each, l_1_tag, l_1_right):
        t_10 = []
        if l_1_each is missing:
            l_1_each = undefined("parameter 'each' was not provided", name='each')
        if l_1_tag is missing:
            l_1_tag = undefined("parameter 'tag' was not provided", name='tag')
        if l_1_right is missing:
            l_1_right = undefined("parameter 'right' was not provided", name='right')
        pass
        if t_8(l_1_each):
            pass
            t_10.append(
                '<td',
            )
            if l_1_right:
                pass
                t_10.append(
                    ' class="right"',
                )
            t_10.extend((
                '>',
                escape(l_1_each),
                '</td>\n',
            ))
        else:
            pass
            t_10.extend((
                '<td class="',
                escape(environment.getattr(l_1_each, 'kind')),
            ))
            if l_1_right:
                pass
                t_10.append(
                    ' right',
                )
            t_10.append(
                '"',
            )
            if (not t_7(environment.getattr(l_1_each, 'value'))):
                pass
                t_10.extend((
                    ' data-value="',
                    escape(environment.getattr(l_1_each, 'value')),
                    '"',
                ))
            t_10.append(
                '>',
            )
            if environment.getattr(l_1_each, 'target'):
                pass
                t_10.extend((
                    '<a href="#',
                    escape(environment.getattr(l_1_each, 'target')),
                    '">',
                    escape(environment.getattr(l_1_each, 'text')),
                    '</a>',
                ))
            else:
                pass
                t_10.append(
                    escape(environment.getattr(l_1_each, 'text')),
                )
            t_10.append(
                '</td>\n',
            )
        return concat(t_10)
    context.exported_vars.add('cell')
    context.vars['cell'] = l_0_cell = Macro(environment, macro, 'cell', ('each', 'tag', 'right'), False, False, False, context.eval_ctx.autoescape)
    def macro(l_1_block):
        t_11 = []
        if l_1_block is missing:
            l_1_block = undefined("parameter 'block' was not provided", name='block')
        pass
        t_11.append(
            '<div class="wide">\n<table>\n<thead><tr>\n',
        )
        l_2_loop = missing
        for l_2_head, l_2_loop in LoopContext(environment.getattr(l_1_block, 'heads'), undefined):
            _loop_vars = {}
            pass
            t_11.append(
                '<th scope="col"',
            )
            if (environment.getattr(l_2_loop, 'index0') in environment.getattr(l_1_block, 'right')):
                pass
                t_11.append(
                    ' class="right"',
                )
            t_11.extend((
                '><button type="button">',
                escape(l_2_head),
                '</button></th>\n',
            ))
        l_2_loop = l_2_head = missing
        t_11.append(
            '</tr></thead>\n<tbody>\n',
        )
        l_2_loop = missing
        for l_2_row, l_2_loop in LoopContext(environment.getattr(l_1_block, 'rows'), undefined):
            _loop_vars = {}
            pass
            t_11.append(
                '<tr>\n',
            )
            l_3_loop = missing
            for l_3_each, l_3_loop in LoopContext(l_2_row, undefined):
                _loop_vars = {}
                pass
                t_11.append(
                    escape(context.call((undefined(name='cell') if l_0_cell is missing else l_0_cell), l_3_each, 'td', (environment.getattr(l_3_loop, 'index0') in environment.getattr(l_1_block, 'right')), _loop_vars=_loop_vars)),
                )
            l_3_loop = l_3_each = missing
            t_11.append(
                '</tr>\n',
            )
        l_2_loop = l_2_row = missing
        t_11.append(
            '</tbody>\n</table>\n</div>\n',
        )
        return concat(t_11)
    context.exported_vars.add('rows')
    context.vars['rows'] = l_0_rows = Macro(environment, macro, 'rows', ('block',), False, False, False, context.eval_ctx.autoescape)
    yield '<!DOCTYPE html>\n<html lang="en"'
    if (undefined(name='dark') if l_0_dark is missing else l_0_dark):
        pass
        yield ' data-theme="dark"'
    yield '>\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; script-src '
    yield escape(t_1(context.eval_ctx, (undefined(name='hashes') if l_0_hashes is missing else l_0_hashes), ' '))
    yield '; style-src \'unsafe-inline\'; img-src data:; base-uri \'none\'; form-action \'none\'">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n<meta name="generator" content="sqgen">\n<title>'
    yield escape(environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'title'))
    yield '</title>\n<link rel="icon" href="data:,">\n<style>'
    yield escape(t_5((undefined(name='style') if l_0_style is missing else l_0_style)))
    yield '</style>\n</head>\n<body>\n<header>\n<div>\n<h1>'
    yield escape(environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'title'))
    yield '</h1>\n'
    if environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'subtitle'):
        pass
        yield '<p class="note">'
        yield escape(environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'subtitle'))
        yield '</p>\n'
    yield '</div>\n<button type="button" id="theme" title="light or dark">light or dark</button>\n</header>\n'
    l_0_listed = t_3(context.eval_ctx, t_4(context, environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'sections'), 'is_part'))
    context.vars['listed'] = l_0_listed
    context.exported_vars.add('listed')
    if (t_2((undefined(name='listed') if l_0_listed is missing else l_0_listed)) > 2):
        pass
        yield '<nav>\n'
        for l_1_section in (undefined(name='listed') if l_0_listed is missing else l_0_listed):
            _loop_vars = {}
            pass
            yield '<a href="#'
            yield escape(environment.getattr(l_1_section, 'id'))
            yield '">'
            yield escape(environment.getattr(l_1_section, 'title'))
            yield '</a>\n'
        l_1_section = missing
        yield '</nav>\n'
    yield '<main>\n'
    for l_1_section in environment.getattr((undefined(name='page') if l_0_page is missing else l_0_page), 'sections'):
        _loop_vars = {}
        pass
        yield '<section id="'
        yield escape(environment.getattr(l_1_section, 'id'))
        yield '"'
        if environment.getattr(l_1_section, 'is_part'):
            pass
            yield ' class="part"'
        yield '>\n'
        if environment.getattr(l_1_section, 'title'):
            pass
            yield '<h'
            yield escape((3 if environment.getattr(l_1_section, 'is_part') else 2))
            yield '>'
            yield escape(environment.getattr(l_1_section, 'title'))
            yield '</h'
            yield escape((3 if environment.getattr(l_1_section, 'is_part') else 2))
            yield '>\n'
        for l_2_block in environment.getattr(l_1_section, 'blocks'):
            l_2_kind = resolve('kind')
            l_2_is = missing
            _loop_vars = {}
            pass
            l_2_is = context.call((undefined(name='kind') if l_2_kind is missing else l_2_kind), l_2_block, _loop_vars=_loop_vars)
            _loop_vars['is'] = l_2_is
            if ((undefined(name='is') if l_2_is is missing else l_2_is) == 'text'):
                pass
                yield '<p'
                if environment.getattr(l_2_block, 'kind'):
                    pass
                    yield ' class="'
                    yield escape(environment.getattr(l_2_block, 'kind'))
                    yield '"'
                yield '>'
                yield escape(environment.getattr(l_2_block, 'text'))
                yield '</p>\n'
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'code'):
                pass
                yield '<pre>'
                yield escape(environment.getattr(l_2_block, 'text'))
                yield '</pre>\n'
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'facts'):
                pass
                yield '<dl'
                if environment.getattr(l_2_block, 'large'):
                    pass
                    yield ' class="large"'
                yield '>\n'
                for l_3_fact in environment.getattr(l_2_block, 'facts'):
                    _loop_vars = {}
                    pass
                    yield '<div><dt>'
                    yield escape(environment.getattr(l_3_fact, 'name'))
                    yield '</dt><dd>'
                    if environment.getattr(l_3_fact, 'kind'):
                        pass
                        yield '<span class="'
                        yield escape(environment.getattr(l_3_fact, 'kind'))
                        yield '">'
                        yield escape(environment.getattr(l_3_fact, 'value'))
                        yield '</span>'
                    else:
                        pass
                        yield escape(environment.getattr(l_3_fact, 'value'))
                    if environment.getattr(l_3_fact, 'detail'):
                        pass
                        yield ' <small>'
                        yield escape(environment.getattr(l_3_fact, 'detail'))
                        yield '</small>'
                    yield '</dd></div>\n'
                l_3_fact = missing
                yield '</dl>\n'
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'table'):
                pass
                if environment.getattr(l_2_block, 'folded'):
                    pass
                    yield '<details><summary>'
                    yield escape(environment.getattr(l_2_block, 'caption'))
                    yield '</summary>\n'
                    yield escape(context.call((undefined(name='rows') if l_0_rows is missing else l_0_rows), l_2_block, _loop_vars=_loop_vars))
                    yield '</details>\n'
                else:
                    pass
                    if environment.getattr(l_2_block, 'caption'):
                        pass
                        yield '<h3>'
                        yield escape(environment.getattr(l_2_block, 'caption'))
                        yield '</h3>\n'
                    yield escape(context.call((undefined(name='rows') if l_0_rows is missing else l_0_rows), l_2_block, _loop_vars=_loop_vars))
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'chart'):
                pass
                yield escape(context.call((undefined(name='chart') if l_0_chart is missing else l_0_chart), l_2_block, _loop_vars=_loop_vars))
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'charts'):
                pass
                yield '<div class="linked">\n'
                for l_3_each in environment.getattr(l_2_block, 'charts'):
                    _loop_vars = {}
                    pass
                    yield escape(context.call((undefined(name='chart') if l_0_chart is missing else l_0_chart), l_3_each, _loop_vars=_loop_vars))
                l_3_each = missing
                yield '<p class="note hint">Drag to move, Ctrl and wheel to zoom, double-click to go back.</p>\n</div>\n'
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'svg'):
                pass
                yield '<figure class="wide" role="img" aria-label="'
                yield escape(environment.getattr(l_2_block, 'label'))
                yield '">'
                yield escape(t_5(environment.getattr(l_2_block, 'svg')))
                yield '</figure>\n'
            elif ((undefined(name='is') if l_2_is is missing else l_2_is) == 'images'):
                pass
                yield '<div class="images'
                if environment.getattr(l_2_block, 'small'):
                    pass
                    yield ' small'
                yield '">\n'
                for l_3_image in environment.getattr(l_2_block, 'images'):
                    _loop_vars = {}
                    pass
                    yield '<figure>'
                    if environment.getattr(l_3_image, 'missing'):
                        pass
                        yield '<div class="missing">'
                        yield escape(environment.getattr(l_3_image, 'missing'))
                        yield '</div>'
                    else:
                        pass
                        yield '<img src="'
                        yield escape(environment.getattr(l_3_image, 'address'))
                        yield '" alt="'
                        yield escape(environment.getattr(l_3_image, 'caption'))
                        yield '"'
                        if environment.getattr(l_3_image, 'width'):
                            pass
                            yield ' width="'
                            yield escape(environment.getattr(l_3_image, 'width'))
                            yield '"'
                        yield '>'
                    yield '\n'
                    if environment.getattr(l_3_image, 'caption'):
                        pass
                        yield '<figcaption>'
                        yield escape(environment.getattr(l_3_image, 'caption'))
                        if environment.getattr(l_3_image, 'detail'):
                            pass
                            yield '<small>'
                            yield escape(environment.getattr(l_3_image, 'detail'))
                            yield '</small>'
                        yield '</figcaption>\n'
                    yield '</figure>\n'
                l_3_image = missing
                yield '</div>\n'
        l_2_block = l_2_kind = l_2_is = missing
        yield '</section>\n'
    l_1_section = missing
    yield '</main>\n'
    for l_1_script in (undefined(name='scripts') if l_0_scripts is missing else l_0_scripts):
        _loop_vars = {}
        pass
        yield '<script>'
        yield escape(t_5(l_1_script))
        yield '</script>\n'
    l_1_script = missing
    yield '</body>\n</html>\n'

blocks = {}
debug_info = '1=65&2=73&3=76&6=83&7=86&8=90&10=95&13=101&14=110&15=115&17=129&20=169&24=178&25=184&29=199&31=206&32=210&41=224&44=228&48=230&50=232&55=234&56=236&57=239&62=242&63=245&65=248&66=252&71=259&72=263&73=269&74=272&76=278&77=283&78=285&79=288&80=296&81=299&82=301&83=304&84=308&85=312&88=332&89=334&90=337&91=339&94=343&95=346&97=348&99=349&100=351&101=352&103=355&104=358&108=361&109=364&110=368&111=371&112=375&113=379&115=398&116=401&126=415&127=419'
