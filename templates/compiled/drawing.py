# drawing.svg.j2, compiled by `make templates`; edit that, not this.
JINJA = '3.1'
CHECKSUM = 518339077

from jinja2.runtime import LoopContext, Macro, Markup, Namespace, TemplateNotFound, TemplateReference, TemplateRuntimeError, Undefined, escape, identity, internalcode, markup_join, missing, str_join
name = 'drawing.svg.j2'

def root(context, missing=missing):
    resolve = context.resolve_or_missing
    undefined = environment.undefined
    concat = environment.concat
    cond_expr_undefined = Undefined
    if 0: yield None
    l_0_width = resolve('width')
    l_0_height = resolve('height')
    l_0_left = resolve('left')
    l_0_top = resolve('top')
    l_0_font = resolve('font')
    l_0_title = resolve('title')
    l_0_colours = resolve('colours')
    l_0_has_ground = resolve('has_ground')
    l_0_nets = resolve('nets')
    l_0_legend = resolve('legend')
    l_0_legend_y = resolve('legend_y')
    try:
        t_1 = environment.filters['forceescape']
    except KeyError:
        @internalcode
        def t_1(*unused):
            raise TemplateRuntimeError("No filter named 'forceescape' found.")
    try:
        t_2 = environment.filters['join']
    except KeyError:
        @internalcode
        def t_2(*unused):
            raise TemplateRuntimeError("No filter named 'join' found.")
    try:
        t_3 = environment.filters['min']
    except KeyError:
        @internalcode
        def t_3(*unused):
            raise TemplateRuntimeError("No filter named 'min' found.")
    try:
        t_4 = environment.filters['round']
    except KeyError:
        @internalcode
        def t_4(*unused):
            raise TemplateRuntimeError("No filter named 'round' found.")
    try:
        t_5 = environment.filters['tojson']
    except KeyError:
        @internalcode
        def t_5(*unused):
            raise TemplateRuntimeError("No filter named 'tojson' found.")
    pass
    yield '<svg xmlns="http://www.w3.org/2000/svg" class="drawing" width="'
    yield escape((undefined(name='width') if l_0_width is missing else l_0_width))
    yield '" height="'
    yield escape((undefined(name='height') if l_0_height is missing else l_0_height))
    yield '" viewBox="'
    yield escape((undefined(name='left') if l_0_left is missing else l_0_left))
    yield ' '
    yield escape((undefined(name='top') if l_0_top is missing else l_0_top))
    yield ' '
    yield escape((undefined(name='width') if l_0_width is missing else l_0_width))
    yield ' '
    yield escape((undefined(name='height') if l_0_height is missing else l_0_height))
    yield '" font-family="'
    yield escape((undefined(name='font') if l_0_font is missing else l_0_font))
    yield '" role="img">\n<title>'
    yield escape((undefined(name='title') if l_0_title is missing else l_0_title))
    yield '</title>\n<style>\n.drawing text { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'ink'))
    yield '; text-anchor: middle; font-size: 11px; }\n.drawing .name { font-size: 14px; font-weight: bold; }\n.drawing .title { font-size: 12px; font-weight: bold; }\n.drawing .costs { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'faint'))
    yield '; }\n.drawing .shape, .drawing .share, .drawing .blob { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'faint'))
    yield '; font-size: 9.5px; }\n.drawing .share, .drawing .blob { text-anchor: start; }\n.drawing .line path { fill: none; stroke: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'line'))
    yield '; stroke-width: 1.2; }\n.drawing .line polygon { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'line'))
    yield '; }\n.drawing .frame rect { fill: none; stroke: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'faint'))
    yield '; stroke-width: 0.8; stroke-dasharray: 3 3; }\n.drawing .frame text { text-anchor: start; fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'faint'))
    yield '; }\n'
    for (l_1_role, l_1_dash) in (('identity', 'none'), ('convolution', '6 3')):
        _loop_vars = {}
        pass
        yield '.drawing .'
        yield escape(l_1_role)
        yield ' path { stroke: '
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), l_1_role))
        yield '; stroke-width: 1.8; stroke-dasharray: '
        yield escape(l_1_dash)
        yield '; }\n.drawing .'
        yield escape(l_1_role)
        yield ' polygon { fill: '
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), l_1_role))
        yield '; }\n'
    l_1_role = l_1_dash = missing
    yield '.drawing .track { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'track'))
    yield '; }\n.drawing .macs { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'macs'))
    yield '; }\n.drawing .parameters { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'parameters'))
    yield '; }\n.drawing .box { stroke-width: 1; fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'other'))
    yield '; stroke: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'other-frame'))
    yield '; }\n'
    for l_1_kind in ('fire', 'multiply', 'pool', 'score'):
        _loop_vars = {}
        pass
        yield '.drawing .'
        yield escape(l_1_kind)
        yield ' .box { fill: '
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), l_1_kind))
        yield '; stroke: '
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), markup_join((l_1_kind, '-frame', ))))
        yield '; }\n'
    l_1_kind = missing
    yield '.drawing .sum .box, .drawing .concat .box { fill: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'ground'))
    yield '; stroke: '
    yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'line'))
    yield '; }\n'
    for l_1_mark in ('added', 'removed', 'changed'):
        _loop_vars = {}
        pass
        yield '.drawing .'
        yield escape(l_1_mark)
        yield ' .box { stroke: '
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), l_1_mark))
        yield '; stroke-width: 3; }\n'
    l_1_mark = missing
    yield '.drawing .legend text { text-anchor: start; font-size: 9.5px; }\n</style>\n'
    if (undefined(name='has_ground') if l_0_has_ground is missing else l_0_has_ground):
        pass
        yield '<rect x="'
        yield escape((undefined(name='left') if l_0_left is missing else l_0_left))
        yield '" y="'
        yield escape((undefined(name='top') if l_0_top is missing else l_0_top))
        yield '" width="'
        yield escape((undefined(name='width') if l_0_width is missing else l_0_width))
        yield '" height="'
        yield escape((undefined(name='height') if l_0_height is missing else l_0_height))
        yield '" fill="'
        yield escape(environment.getitem((undefined(name='colours') if l_0_colours is missing else l_0_colours), 'ground'))
        yield '"/>\n'
    for l_1_net in (undefined(name='nets') if l_0_nets is missing else l_0_nets):
        _loop_vars = {}
        pass
        yield '<g class="net">\n<text class="name" x="'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'name'), 'x'))
        yield '" y="'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'name'), 'y'))
        yield '">'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'name'), 'text'))
        yield '</text>\n<text class="costs" x="'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'costs'), 'x'))
        yield '" y="'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'costs'), 'y'))
        yield '">'
        yield escape(environment.getattr(environment.getattr(l_1_net, 'costs'), 'text'))
        yield '</text>\n'
        for (l_2_x, l_2_y, l_2_width, l_2_height, l_2_title) in environment.getattr(l_1_net, 'frames'):
            _loop_vars = {}
            pass
            yield '<g class="frame"><rect x="'
            yield escape(l_2_x)
            yield '" y="'
            yield escape(l_2_y)
            yield '" width="'
            yield escape(l_2_width)
            yield '" height="'
            yield escape(l_2_height)
            yield '" rx="6"/><text x="'
            yield escape((l_2_x + 7))
            yield '" y="'
            yield escape((l_2_y + 14))
            yield '">'
            yield escape(l_2_title)
            yield '</text></g>\n'
        l_2_x = l_2_y = l_2_width = l_2_height = l_2_title = missing
        for l_2_line in environment.getattr(l_1_net, 'lines'):
            _loop_vars = {}
            pass
            yield '<g class="line '
            yield escape(environment.getattr(l_2_line, 'role'))
            yield '" data-from="'
            yield escape(environment.getattr(l_2_line, 'source'))
            yield '" data-to="'
            yield escape(environment.getattr(l_2_line, 'target'))
            yield '" data-blob="'
            yield escape(environment.getattr(l_2_line, 'blob'))
            yield '"><path d="'
            yield escape(environment.getattr(l_2_line, 'path'))
            yield '"/><polygon points="'
            yield escape(environment.getattr(l_2_line, 'arrow'))
            yield '"/>'
            if environment.getattr(l_2_line, 'text'):
                pass
                yield '<text class="shape" x="'
                yield escape(environment.getattr(environment.getattr(l_2_line, 'text'), 'x'))
                yield '" y="'
                yield escape(environment.getattr(environment.getattr(l_2_line, 'text'), 'y'))
                yield '">'
                yield escape(environment.getattr(environment.getattr(l_2_line, 'text'), 'text'))
                yield '</text>'
            yield '</g>\n'
        l_2_line = missing
        for l_2_each in environment.getattr(l_1_net, 'blocks'):
            _loop_vars = {}
            pass
            yield '<g class="block '
            yield escape(environment.getattr(environment.getattr(l_2_each, 'block'), 'kind'))
            if environment.getattr(environment.getattr(l_2_each, 'marked'), 'mark'):
                pass
                yield ' '
                yield escape(environment.getattr(environment.getattr(l_2_each, 'marked'), 'mark'))
            yield '" id="'
            yield escape(environment.getattr(l_2_each, 'id'))
            yield '" data-layers="'
            yield escape(t_2(context.eval_ctx, environment.getattr(environment.getattr(l_2_each, 'block'), 'layers'), ' '))
            yield '"'
            if environment.getattr(environment.getattr(l_2_each, 'marked'), 'differences'):
                pass
                yield ' data-differences="'
                yield escape(t_1(t_5(context.eval_ctx, environment.getattr(environment.getattr(l_2_each, 'marked'), 'differences'))))
                yield '"'
            yield '><title>'
            yield escape(environment.getattr(environment.getattr(l_2_each, 'block'), 'title'))
            yield ': '
            yield escape(environment.getattr(environment.getattr(l_2_each, 'block'), 'text'))
            for l_3_text in environment.getattr(environment.getattr(l_2_each, 'marked'), 'differences'):
                _loop_vars = {}
                pass
                yield '; '
                yield escape(l_3_text)
            l_3_text = missing
            yield '</title><rect class="box" x="'
            yield escape(environment.getattr(l_2_each, 'x'))
            yield '" y="'
            yield escape(environment.getattr(l_2_each, 'y'))
            yield '" width="'
            yield escape(environment.getattr(l_2_each, 'width'))
            yield '" height="'
            yield escape(environment.getattr(l_2_each, 'height'))
            yield '" rx="'
            yield escape((10 if (environment.getattr(environment.getattr(l_2_each, 'block'), 'kind') in ('sum', 'concat')) else 5))
            yield '"/><text class="title" x="'
            yield escape(environment.getattr(environment.getattr(l_2_each, 'title'), 'x'))
            yield '" y="'
            yield escape(environment.getattr(environment.getattr(l_2_each, 'title'), 'y'))
            yield '">'
            yield escape(environment.getattr(environment.getattr(l_2_each, 'title'), 'text'))
            yield '</text>'
            for l_3_line in environment.getattr(l_2_each, 'lines'):
                _loop_vars = {}
                pass
                yield '<text x="'
                yield escape(environment.getattr(l_3_line, 'x'))
                yield '" y="'
                yield escape(environment.getattr(l_3_line, 'y'))
                yield '">'
                yield escape(environment.getattr(l_3_line, 'text'))
                yield '</text>'
            l_3_line = missing
            for l_3_bar in environment.getattr(l_2_each, 'bars'):
                _loop_vars = {}
                pass
                yield '<rect class="track" x="'
                yield escape(environment.getattr(l_3_bar, 'x'))
                yield '" y="'
                yield escape(environment.getattr(l_3_bar, 'y'))
                yield '" width="'
                yield escape(environment.getattr(l_3_bar, 'width'))
                yield '" height="4" rx="2"/><rect class="'
                yield escape(environment.getattr(environment.getattr(l_3_bar, 'bar'), 'kind'))
                yield '" x="'
                yield escape(environment.getattr(l_3_bar, 'x'))
                yield '" y="'
                yield escape(environment.getattr(l_3_bar, 'y'))
                yield '" width="'
                yield escape(environment.getattr(l_3_bar, 'filled'))
                yield '" height="4" rx="'
                yield escape(t_3(environment, [2, (environment.getattr(l_3_bar, 'filled') / 2)]))
                yield '"/><text class="share" x="'
                yield escape((environment.getattr(l_3_bar, 'end') + 4))
                yield '" y="'
                yield escape((environment.getattr(l_3_bar, 'y') + 5))
                yield '">'
                yield escape(environment.getattr(environment.getattr(l_3_bar, 'bar'), 'text'))
                yield '</text>'
            l_3_bar = missing
            if environment.getattr(l_2_each, 'labels'):
                pass
                yield '<g class="line label" data-from="'
                yield escape(environment.getattr(environment.getitem(environment.getattr(l_2_each, 'labels'), 0), 'source'))
                yield '" data-to="'
                yield escape(environment.getattr(environment.getitem(environment.getattr(l_2_each, 'labels'), 0), 'target'))
                yield '" data-blob="'
                yield escape(environment.getattr(environment.getitem(environment.getattr(l_2_each, 'labels'), 0), 'blob'))
                yield '"><path d="M'
                yield escape(environment.getattr(environment.getattr(l_2_each, 'title'), 'x'))
                yield ','
                yield escape((environment.getattr(l_2_each, 'bottom') + 18))
                yield 'V'
                yield escape((environment.getattr(l_2_each, 'bottom') + 6))
                yield '"/><polygon points="'
                yield escape(t_4((environment.getattr(environment.getattr(l_2_each, 'title'), 'x') - 3.2), 2))
                yield ','
                yield escape((environment.getattr(l_2_each, 'bottom') + 7))
                yield ' '
                yield escape(environment.getattr(environment.getattr(l_2_each, 'title'), 'x'))
                yield ','
                yield escape(environment.getattr(l_2_each, 'bottom'))
                yield ' '
                yield escape(t_4((environment.getattr(environment.getattr(l_2_each, 'title'), 'x') + 3.2), 2))
                yield ','
                yield escape((environment.getattr(l_2_each, 'bottom') + 7))
                yield '"/><text class="blob" x="'
                yield escape(t_4((environment.getattr(environment.getattr(l_2_each, 'title'), 'x') + 7), 2))
                yield '" y="'
                yield escape((environment.getattr(l_2_each, 'bottom') + 16))
                yield '">'
                yield escape(environment.getattr(l_2_each, 'label'))
                yield '</text></g>\n'
                for l_3_more in environment.getattr(l_2_each, 'labels')[1:]:
                    _loop_vars = {}
                    pass
                    yield '<g class="line label" data-from="'
                    yield escape(environment.getattr(l_3_more, 'source'))
                    yield '" data-to="'
                    yield escape(environment.getattr(l_3_more, 'target'))
                    yield '" data-blob="'
                    yield escape(environment.getattr(l_3_more, 'blob'))
                    yield '"></g>\n'
                l_3_more = missing
            yield '</g>\n'
        l_2_each = missing
        yield '</g>\n'
    l_1_net = missing
    if (undefined(name='legend') if l_0_legend is missing else l_0_legend):
        pass
        yield '<g class="legend" transform="translate(0 '
        yield escape((undefined(name='legend_y') if l_0_legend_y is missing else l_0_legend_y))
        yield ')">\n'
        for l_1_each in (undefined(name='legend') if l_0_legend is missing else l_0_legend):
            l_1_y = missing
            _loop_vars = {}
            pass
            l_1_y = environment.getattr(l_1_each, 'y')
            _loop_vars['y'] = l_1_y
            if (environment.getattr(l_1_each, 'kind') in ('macs', 'parameters')):
                pass
                yield '<rect class="'
                yield escape(environment.getattr(l_1_each, 'kind'))
                yield '" x="'
                yield escape(environment.getattr(l_1_each, 'x'))
                yield '" y="'
                yield escape(((undefined(name='y') if l_1_y is missing else l_1_y) - 2))
                yield '" width="20" height="4" rx="2"/>'
            elif (environment.getattr(l_1_each, 'kind') in ('identity', 'convolution')):
                pass
                yield '<g class="'
                yield escape(environment.getattr(l_1_each, 'kind'))
                yield '"><path fill="none" d="M'
                yield escape(environment.getattr(l_1_each, 'x'))
                yield ','
                yield escape((undefined(name='y') if l_1_y is missing else l_1_y))
                yield 'h20"/></g>'
            else:
                pass
                yield '<g class="'
                yield escape(environment.getattr(l_1_each, 'kind'))
                yield '"><rect class="box" x="'
                yield escape((environment.getattr(l_1_each, 'x') + 2))
                yield '" y="'
                yield escape(((undefined(name='y') if l_1_y is missing else l_1_y) - 5))
                yield '" width="16" height="10" rx="3"/></g>'
            yield '<text x="'
            yield escape((environment.getattr(l_1_each, 'x') + 26))
            yield '" y="'
            yield escape(((undefined(name='y') if l_1_y is missing else l_1_y) + 3.5))
            yield '">'
            yield escape(environment.getattr(l_1_each, 'text'))
            yield '</text>\n'
        l_1_each = l_1_y = missing
        yield '</g>\n'
    yield '</svg>\n'

blocks = {}
debug_info = '1=53&2=67&4=69&7=71&8=73&10=75&11=77&12=79&13=81&14=83&15=87&16=93&18=99&19=101&20=103&21=105&22=109&23=113&25=121&26=125&27=129&31=135&32=138&34=148&36=152&37=158&38=164&39=168&41=183&42=187&43=199&44=202&48=210&49=214&50=256&51=260&53=267&54=271&56=294&57=297&58=327&59=331&66=342&67=345&68=347&69=351&70=353&71=356&72=362&73=365&75=374&77=381'
