"""How large the house is: entries, files, lines, arrows, function lengths, and the code of each notebook.

    python bench/house.py

Counts what is in the working tree. An arrow is a folder of hpa_lib (or hpa_synth) that imports another one; files at
the top of hpa_lib, which all may use, are not counted. A notebook's lines are those of its code cells besides the
parameters, without blank ones; a function's those of its body without the docstring.
"""

import ast
import json
import statistics
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LIBRARY, GENERATOR = PROJECT / "hpa_lib", PROJECT / "hpa_synth"


def list_files(folder: Path) -> list[Path]:
    """All Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def count_lines(files: list[Path]) -> int:
    """Lines of all files together, blank ones and docstrings included."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def folder_of(path: Path) -> str:
    """``hpa_synth``, a folder of hpa_lib, or ``""`` for a file at the top of hpa_lib."""
    if GENERATOR in path.parents:
        return GENERATOR.name
    return "" if path.parent == LIBRARY else path.parent.name


def find_arrows() -> set[tuple[str, str]]:
    """All pairs of folders of which the first imports the second."""
    arrows = set()
    for path in list_files(LIBRARY) + list_files(GENERATOR):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("hpa_lib"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                folders = {name.split(".")[1] for name in names if (LIBRARY / name.split(".")[1]).is_dir()}
                arrows |= {(folder_of(path), folder) for folder in folders}
    return {(start, end) for start, end in arrows if start and start != end}


def measure_functions() -> list[tuple[int, str]]:
    """Lines of the body and name of each function of hpa_lib, shortest first."""
    lengths = []
    for path in list_files(LIBRARY):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lengths.append((node.end_lineno - first.lineno + 1, f"{path.stem}.{node.name}"))
    return sorted(lengths)


def measure_notebook(path: Path) -> tuple[int, float, int]:
    """Lines of code besides the parameters, lines of the median cell, and of the longest one."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code" and cell["id"] != "parameters"]
    lengths = [sum(bool(line.strip()) for line in source) for source in code]
    return sum(lengths), statistics.median(lengths), max(lengths)


def main():
    entries = [path for path in LIBRARY.iterdir() if path.name != "__pycache__"]
    print(f"hpa_lib     {len(entries)} entries, {count_lines(list_files(LIBRARY)):,} lines")
    print(f"hpa_synth   {len(list_files(GENERATOR))} files, {count_lines(list_files(GENERATOR)):,} lines")
    for folder in sorted(path for path in entries if path.is_dir()):
        files = [path for path in list_files(folder) if path.name != "__init__.py"]
        most, longest = max((count_lines([path]), path.name) for path in files)
        print(f"  {folder.name:<10}{len(files):>3} files {count_lines(files):>6,} lines, longest {longest} {most}")
    arrows = sorted(find_arrows())
    print(f"{len(arrows)} arrows    {', '.join(f'{start} > {end}' for start, end in arrows if start)}")
    functions = measure_functions()
    median, (length, name) = statistics.median(length for length, _ in functions), functions[-1]
    print(f"{len(functions)} functions, the median has {median:.0f} lines, the longest ({name}) {length}")
    print(f"{'notebook':<28}{'lines':>6}{'median':>8}{'longest':>9}")
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        lines, median, longest = measure_notebook(path)
        print(f"{path.stem:<28}{lines:>6}{median:>8.1f}{longest:>9}")


if __name__ == "__main__":
    main()
