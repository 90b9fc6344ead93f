"""The explorer: the views of ``explore`` as ipywidgets in a notebook, for one finished run.

All state is in one namespace ``view``: the run's ``found`` with the thresholds in force, the chosen ``rows`` and
``row``, and the widgets. Each ``_show`` function brings one part of the screen up to date. CSS classes such as
``hpa-threshold`` mark the widgets, so that a test finds them.
"""

from types import SimpleNamespace

import ipywidgets
import numpy as np

from hpa_lib import atlas
from hpa_lib.figures import explanations, micrographs, views
from hpa_lib.reporting import explore, label_statistics

PAGE = 24  # thumbnails
THUMBNAIL = 104  # pixels
SMALL, LARGE = f"{THUMBNAIL}px", "330px"
WORST = "the surest mistake first"
SLIDER = {"continuous_update": False, "layout": {"width": "300px"}, "style": {"description_width": "80px"}}
CHOICE = {"layout": {"width": "300px"}, "style": {"description_width": "80px"}}


def explorer(found: explore.Found, label: int = explore.ANY, um_per_px: float = 0) -> ipywidgets.VBox:
    """Browse the images of a run, change thresholds, and ask what the network saw.

    Thumbnails, scores and pictures follow every choice. Thresholds that are moved count here alone: nothing is stored.

    Args:
        found: from ``explore.load``.
        label: the class to begin with.
        um_per_px: micrometres per pixel of the cached images, for a scale bar; 0 where they are not known.
    """
    view = SimpleNamespace(found=found, um_per_px=um_per_px, rows=np.zeros(0, int), row=0)
    _add_choices(view, label)
    _add_channels(view)
    _add_pictures(view)
    for widget in (view.part, view.label, view.label_set, view.error, view.order):
        widget.observe(lambda _: _choose(view), "value")
    view.page.observe(lambda _: _show_page(view), "value")
    for widget in (view.look, *view.shown, *view.brightness, *view.gamma):
        widget.observe(lambda _: _show_pictures(view), "value")
    view.threshold.observe(lambda change: _move_threshold(view, change["new"]), "value")
    view.ask.on_click(lambda _: _show_heat_map(view))
    view.ask_confused.on_click(lambda _: _show_confusion(view))
    for place, button in enumerate(view.buttons):
        button.on_click(lambda _, place=place: _open(view, place))
    box = _arrange(view)
    _choose(view)
    return box


def _add_choices(view: SimpleNamespace, label: int) -> None:
    found, part = view.found, explore.judged_part(view.found)
    parts = [(name, key) for key, name in explore.PARTS.items() if (found.parts == key).any()]
    sets = label_statistics.set_table(found.labels)["Target"].head(60)
    names = [(explore.name_labels(atlas.parse_target(target)), target) for target in sets]
    classes = [("any class", explore.ANY), *zip(atlas.LABELS, range(atlas.NUM_LABELS), strict=True)]
    view.part = _mark(ipywidgets.Dropdown(options=parts, value=part, description="part", **CHOICE), "part")
    view.label = _mark(ipywidgets.Dropdown(options=classes, value=label, description="class", **CHOICE), "class")
    view.label_set = ipywidgets.Dropdown(options=[("any", "any"), *names], description="label set", **CHOICE)
    view.error = _mark(ipywidgets.Dropdown(options=explore.ERRORS, description="show", **CHOICE), "error")
    view.order = _mark(ipywidgets.Dropdown(options=["as stored", WORST], description="order", **CHOICE), "order")
    view.page = ipywidgets.BoundedIntText(1, 1, 1, description="page", **CHOICE)
    view.threshold = _mark(
        ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.005, readout_format=".3f", **SLIDER), "threshold"
    )
    view.threshold.description = "threshold"


def _add_channels(view: SimpleNamespace) -> None:
    view.look = _mark(ipywidgets.Dropdown(options=list(micrographs.LOOKS), description="colours", **CHOICE), "look")
    view.shown, view.brightness, view.gamma = [], [], []
    for channel, stain in zip(atlas.CHANNELS, atlas.CHANNEL_STAINS, strict=True):
        box = ipywidgets.Checkbox(True, description=f"{channel}: {stain}", indent=False, layout={"width": "190px"})
        view.shown.append(_mark(box, f"channel-{channel}"))
        view.brightness.append(ipywidgets.FloatSlider(1, min=0.2, max=4, step=0.1, description="brightness", **SLIDER))
        view.gamma.append(ipywidgets.FloatSlider(1, min=0.3, max=2, step=0.1, description="gamma", **SLIDER))


def _add_pictures(view: SimpleNamespace) -> None:
    view.thumbnails = [_mark(_image(SMALL), "thumbnail") for _ in range(PAGE)]
    view.buttons = [_mark(ipywidgets.Button(layout={"width": SMALL}), "id") for _ in range(PAGE)]
    for name in ("count", "title", "scale", "numbers", "note", "similar"):
        setattr(view, name, _mark(ipywidgets.HTML(), name))
    view.picture, view.heat = _mark(_image(LARGE), "picture"), _mark(_image(LARGE), "heat")
    view.bars, view.curve = _mark(_image("368px"), "bars"), _mark(_image("368px"), "curve")
    view.alike = [_image(SMALL) for _ in range(7)]
    view.confused = _mark(_image("700px"), "confused")
    wide = {"layout": {"width": "200px"}}
    view.ask = _mark(ipywidgets.Button(description="Where does it look?", **wide), "ask")
    view.ask_confused = _mark(ipywidgets.Button(description="What is confused?", **wide), "ask-confused")
    view.ask.disabled = not explore.can_explain(view.found)


def _image(width: str) -> ipywidgets.Image:
    return ipywidgets.Image(format="png", layout={"width": width, "display": "none"})


def _mark(widget: ipywidgets.Widget, name: str) -> ipywidgets.Widget:
    return widget.add_class(f"hpa-{name}")


def _set(image: ipywidgets.Image, value: bytes) -> None:
    image.value, image.layout.display = value, None


def _choose(view: SimpleNamespace) -> None:
    """Another selection: its images, and the curve of its class."""
    found, part, label = view.found, view.part.value, view.label.value
    view.threshold.disabled = label == explore.ANY
    if label != explore.ANY:
        view.threshold.value = found.thresholds[label]
        view.table = explore.curve(found, part, label)
    _list_images(view)
    view.page.value = 1
    _show_page(view)
    _show_scores(view)
    view.opened.layout.display = None if len(view.rows) else "none"
    if len(view.rows):
        _open(view, 0)


def _list_images(view: SimpleNamespace) -> None:
    """The images of the selection, in the chosen order."""
    part, label, label_set = view.part.value, view.label.value, view.label_set.value
    chosen = {"error": view.error.value, "label_set": None if label_set == "any" else label_set}
    view.rows = explore.select(view.found, part, label, **chosen)
    if view.order.value == WORST:
        surest = explore.worst(view.found, part, label, view.found.labels.size)["row"].drop_duplicates()
        surest = surest[surest.isin(view.rows)].to_numpy(int)
        view.rows = np.concatenate([surest, view.rows[~np.isin(view.rows, surest)]])  # images without a mistake last
    view.page.max = max(-(-len(view.rows) // PAGE), 1)
    view.count.value = f"{len(view.rows)} images"


def _render(view: SimpleNamespace, row: int, size: int = 0) -> np.ndarray:
    """The picture of one image with the chosen colours, channels, brightness and gamma, (S, S, 3) in 0..1.

    Of a large image that is shown with ``size`` pixels every second (third, ...) pixel is enough.
    """
    image = explore.images_of(view.found, row)
    image = image[:: max(len(image) // size, 1), :: max(len(image) // size, 1)] if size else image
    light = [box.value * slider.value for box, slider in zip(view.shown, view.brightness, strict=True)]
    gamma = [slider.value for slider in view.gamma]
    return micrographs.to_rgb(image, micrographs.LOOKS[view.look.value], brightness=light, gamma=gamma)


def _show_page(view: SimpleNamespace) -> None:
    """The thumbnails of this page, each with a button that opens the image."""
    found, first = view.found, PAGE * (view.page.value - 1)
    view.shown_rows = view.rows[first : first + PAGE]
    for place, (thumbnail, button) in enumerate(zip(view.thumbnails, view.buttons, strict=True)):
        if place >= len(view.shown_rows):
            button.layout.display = thumbnail.layout.display = "none"
            continue
        row, button.layout.display = view.shown_rows[place], None
        button.description, button.tooltip = found.ids[row], explore.name_errors(found, row)
        if found.images is not None:
            _set(thumbnail, micrographs.encode_png(_render(view, row, THUMBNAIL)))


def _show_pictures(view: SimpleNamespace) -> None:
    """All that is drawn with the chosen colours: the page, the open image and those most alike to it."""
    _show_page(view)
    _show_picture(view)
    _show_alike(view)


def _open(view: SimpleNamespace, place: int) -> None:
    """One image of the page: large, with its probabilities and the images most alike to it."""
    view.row = view.shown_rows[place]
    view.heat.layout.display, view.note.value = "none", ""
    _show_bars(view)
    _show_picture(view)
    _show_alike(view)


def _show_bars(view: SimpleNamespace) -> None:
    found, row = view.found, view.row
    view.title.value = f"<b>{found.ids[row]}</b><br>{explore.name_errors(found, row)}"
    fig = views.answer(found.labels[row], found.probs[row], found.thresholds, synthetic=found.is_synthetic)
    _set(view.bars, views.encode_png(fig))


def _show_picture(view: SimpleNamespace) -> None:
    if view.found.images is None:
        return
    picture = _render(view, view.row)
    if view.um_per_px:
        picture, length = micrographs.add_scale_bar(picture, view.um_per_px)
        view.scale.value = f"bar: {length}"
    _set(view.picture, micrographs.encode_png(picture))


def _show_alike(view: SimpleNamespace) -> None:
    found, lines = view.found, ["<b>most alike for the network</b> (cosine distance, true labels)"]
    if found.embeddings is None:
        return
    rows, distances = explore.neighbours(found.embeddings, view.row, len(view.alike))
    for image, row, distance in zip(view.alike, rows, distances, strict=False):
        lines.append(f"{distance:.3f} {explore.name_labels(found.labels[row])}")
        if found.images is not None:
            _set(image, micrographs.encode_png(_render(view, row, THUMBNAIL)))
    view.similar.value = "<br>".join(lines)


def _move_threshold(view: SimpleNamespace, threshold: float) -> None:
    """The scores with another threshold, and the images that it moves to another kind of error."""
    label = view.label.value
    if label == explore.ANY or threshold == view.found.thresholds[label]:
        return
    view.found = explore.with_threshold(view.found, label, threshold)
    _list_images(view)
    _show_scores(view)
    _show_page(view)
    _show_bars(view)


def _show_scores(view: SimpleNamespace) -> None:
    label, part = view.label.value, view.part.value
    if label == explore.ANY:
        view.numbers.value, view.curve.layout.display = "choose a class to move its threshold", "none"
        return
    scores = explore.score(view.found, part, label)
    view.numbers.value = " &nbsp; ".join(
        f"{views.NAMES.get(name, name)} <b>{value:.3f}</b>" for name, value in scores.items()
    )
    at = (view.found.thresholds[label], label, explore.PARTS[part], view.found.is_synthetic)
    fig = views.threshold_curve(view.table, *at)
    _set(view.curve, views.encode_png(fig))


def _show_heat_map(view: SimpleNamespace) -> None:
    """Grad-CAM of the open image for the chosen class, else for its most probable one."""
    found, label = view.found, view.label.value
    label = int(found.probs[view.row].argmax()) if label == explore.ANY else label
    view.note.value = "the network is asked ..."
    heat = explore.heat_maps(found, explore.images_of(found, np.array([view.row])), label)[0]
    _set(view.heat, micrographs.encode_png(explanations.overlay(explore.images_of(found, view.row), heat)))
    seen = "red is where the network looks" if heat.any() else "nothing in the image speaks for it"
    view.note.value = f"Grad-CAM for {atlas.LABELS[label]}: {seen}"


def _show_confusion(view: SimpleNamespace) -> None:
    """What is predicted in place of what is missed in the chosen part, with the thresholds in force."""
    found, part = view.found, view.part.value
    fig = views.confusion(explore.confusion(found, part), explore.PARTS[part], found.is_synthetic)
    _set(view.confused, views.encode_png(fig))


def _arrange(view: SimpleNamespace) -> ipywidgets.VBox:
    rows, columns = ipywidgets.HBox, ipywidgets.VBox
    channels = [rows(list(line)) for line in zip(view.shown, view.brightness, view.gamma, strict=True)]
    cells = [columns(list(pair)) for pair in zip(view.thumbnails, view.buttons, strict=True)]
    grid = rows(cells, layout={"flex_flow": "row wrap"})
    choices = columns([view.part, view.label, view.label_set, view.error, view.order, rows([view.page, view.count])])
    scores = columns([view.threshold, view.numbers, view.curve])
    top = rows([choices, scores, columns([view.look, *channels])], layout={"flex_flow": "row wrap"})
    looked_at = [columns([view.picture, view.scale, view.ask]), view.bars, columns([view.heat, view.note])]
    image = rows(looked_at, layout={"flex_flow": "row wrap"})
    view.opened = _mark(columns([view.title, image, view.similar, rows(view.alike)]), "opened")
    return _mark(columns([top, grid, view.opened, view.ask_confused, view.confused]), "explorer")
