using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products. The register tile reads a packed panel of columns and rows of the other operand, where they lie or packed into
/// strips; what it multiplies next is packed meanwhile, a row at a time, and the epilogue runs on the tile while it is in the
/// first-level cache. How the work is cut and divided is <see cref="MatMulBlocking"/>'s choice. A single row
/// is multiplied by dot products instead (<see cref="DotProductEmitter"/>).
/// </summary>
internal static class MatMulEmitter
{
    /// <summary>Strips of a transposed group whose tiles are called one by one; more are called in a loop.</summary>
    private const int MostUnrolledStrips = 4;

    /// <summary>Multiply-adds that one worker does together, at least.</summary>
    private const long LeastTogether = 1 << 19;

    public static KernelCode Emit(MatMulKernel kernel)
    {
        ArgumentKinds arguments = Arguments.Of(kernel.Rows) | Arguments.Of(kernel.Stores);
        string letters = kernel.Form == MatMulForm.TN ? "Contract" : kernel.Form == MatMulForm.NT ? "Linear" : "Multiply";
        string formula = kernel.Form switch
        {
            MatMulForm.NT => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Columns}, {kernel.Depth}]ᵀ",
            MatMulForm.NN => $"[{kernel.Rows}, {kernel.Depth}] · [{kernel.Depth}, {kernel.Columns}]",
            _ => $"[{kernel.Depth}, {kernel.Rows}]ᵀ · [{kernel.Depth}, {kernel.Columns}]",
        };
        var code = new KernelCode($"{letters}_{Text.Extent(kernel.Rows)}x{kernel.Depth}x{kernel.Columns}", $"{Text.Describe(kernel)}: {formula}.", kernel, arguments)
        {
            Workspace = kernel.Workspace is null ? null : "workspace",
        };
        if (kernel.IsDotProducts)
        {
            code.ForEachWidth((w, name, v) => DotProductEmitter.Emit(w, code, name, kernel, v));
        }
        else
        {
            code.ForEachWidth((w, name, v) => new Product(w, code, name, kernel, v).Emit());
        }

        foreach (Spelling v in Spelling.All)
        {
            code.Method($"Epilogue_{v.Bits}", $"float* tile{Pointers(kernel, declared: true)}{string.Join("", Arguments.Declarations(Arguments.Of(kernel.Stores)).Select(d => ", " + d))}, int row, int rows, int column, int columns", (w, _) => Epilogue(w, kernel, v));
        }

        return code;
    }

    public static KernelCode Emit(PackKernel kernel)
    {
        var code = new KernelCode($"Pack_{kernel.Depth}x{kernel.Columns}", $"{kernel.Operands[0].Name}, [{kernel.Depth}, {kernel.Columns}], packed into panels of columns.", kernel, ArgumentKinds.None);
        code.ForEachWidth((w, _, v) =>
        {
            int width = MatMulBlocking.PackedVectors(kernel.Columns, v.PanelTile) * v.Lanes;
            Text.Range(w, kernel.IsSerial, CodeWriter.Number(kernel.Columns), width);
            w.Line(Pack(kernel.Form == MatMulForm.NT, $"{kernel.Operands[0].Name} + {(kernel.Form == MatMulForm.NT ? $"(long)start * {kernel.Operands[0].Access.RowStride}" : "start")}", kernel.Operands[0].Access.RowStride,
                CodeWriter.Number(kernel.Depth), "end - start", $"panels + (long)start * {kernel.Depth}", width, v.Lanes));
        });
        return code;
    }

    /// <summary>Runs the epilogue on a tile of sums.</summary>
    public static string EpilogueCall(Func<string, string> name, MatMulKernel kernel, Spelling v, string tile, string row, string rows, string column, string columns)
        => $"{name($"Epilogue_{v.Bits}")}({tile}{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(Arguments.Of(kernel.Stores)).Select(n => ", " + n))}, {row}, {rows}, {column}, {columns});";

    private static string Pointers(MatMulKernel kernel, bool declared)
        => string.Join("", kernel.Operands.Skip(2).Select(o => $", {(!declared ? "" : o.Access.Element == ElementType.Int32 ? "int* " : "float* ")}{o.Name}"));

    private static string Pack(bool transposed, string source, int stride, string depth, string count, string target, int width, int granule)
        => $"Panels.PackPanels{(transposed ? "Transposed" : "")}({source}, {stride}, {depth}, {count}, {target}, {width}, {granule});";

    /// <summary>One product at one vector width.</summary>
    private sealed class Product
    {
        private readonly CodeWriter _w;
        private readonly KernelCode _code;
        private readonly Func<string, string> _name;
        private readonly MatMulKernel _kernel;
        private readonly Spelling _v;
        private readonly MatMulBlocking _blocking;
        private readonly string _depth;
        private readonly string _rows;
        private readonly string _strips;

        public Product(CodeWriter w, KernelCode code, Func<string, string> name, MatMulKernel kernel, Spelling v)
        {
            (_w, _code, _name, _kernel, _v) = (w, code, name, kernel, v);
            _blocking = kernel.Blocking(v.PanelTile);
            _rows = Text.RowCount(kernel.Rows);
            _strips = kernel.Rows.IsDynamic ? "strips" : CodeWriter.Number(_blocking.Strips);
            _depth = _blocking.DepthBlocks == 1 || kernel.Depth % _blocking.DepthBlock == 0 ? CodeWriter.Number(_blocking.DepthBlock) : "depth";
        }

        public void Emit()
        {
            if (_blocking.Division == MatMulDivision.Transposed)
            {
                Transposed();
                return;
            }

            if (_kernel.Rows.IsDynamic)
            {
                _w.Line($"int strips = ({_rows} + {_blocking.Height - 1}) / {_blocking.Height};");
            }

            bool blocks = _blocking.DepthBlocks > 1;
            if (!blocks && (!IsPlain || HasRaggedRows || _kernel.Columns % _v.Lanes != 0))
            {
                _w.Line($"float* tile = stackalloc float[{_blocking.Height * _blocking.Width}];");
            }

            if (_blocking.OwnElements > 0)
            {
                _w.Line($"float* {Piece} = (float*)worker.Scratch;");
                if (_blocking.PacksAhead)
                {
                    _w.Line($"float* next = {Piece} + {_blocking.PieceElements};");
                    _w.Line("RowCopy ahead = default;");
                }
            }

            Memory(ByStrips ? "panels" : "rows");
            if (_kernel.IsSerial)
            {
                _w.Line($"const int start = 0, end = {_blocking.Panels};");
            }
            else if (!IsTaken)
            {
                _w.Line($"worker.Range({(ByStrips ? _strips : CodeWriter.Number(_blocking.Panels))}, 1, out int start, out int end);");
            }
            else if (_blocking.PacksAhead && _kernel.Rows.IsDynamic && !ByStrips)
            {
                _w.Line($"int every = {_blocking.DepthBlock} / (({_blocking.DepthBlock} + strips - 1) / strips);");
            }

            if (NeedsOrder && IsTaken)
            {
                PanelsAhead();
                return;
            }

            if (blocks)
            {
                _w.Open($"for (int block = 0; block < {_blocking.DepthBlocks}; block++)");
                if (_depth == "depth")
                {
                    _w.Line($"int depth = Math.Min({_blocking.DepthBlock}, {_kernel.Depth} - block * {_blocking.DepthBlock});");
                }

                if (_blocking.SharedElements > 0)
                {
                    _w.Line($"float* {Packed} = {Shared} + (block & 1) * {CodeWriter.Number(_blocking.SharedElements)}L;");
                }
            }

            PackShared();
            if (ByStrips)
            {
                Strips();
            }
            else if (_blocking.PacksAhead)
            {
                PanelsAhead();
            }
            else
            {
                Panels();
            }

            if (blocks)
            {
                _w.Close();
            }
        }

        private bool ByStrips => _blocking.Division == MatMulDivision.Strips;

        /// <summary>Whether the sums of the blocks before must be there for a panel's next one, and no barrier sees to that.</summary>
        private bool NeedsOrder => _blocking.Division == MatMulDivision.Panels && _blocking.DepthBlocks > 1 && (_blocking.SharedElements == 0 || _blocking.IsSharedInScratch);

        /// <summary>Whether workers take units one by one, from their own shares and from others'. A unit's results are the same whoever computes them.</summary>
        private bool IsTaken => _blocking.PacksAhead || (!NeedsOrder && _kernel.IsHelped);

        /// <summary>Opens the loop over pieces of this worker's share and of others'.</summary>
        private void OpenPieces(long unitRows, int most, string first, string last)
        {
            long met = _blocking.Division != MatMulDivision.Transposed ? _kernel.Columns : Math.Max(1, _kernel.Rows.Maximum / (_kernel.Rows.IsDynamic ? 16 : 1));
            long least = Math.Min(most, Math.Max(1, LeastTogether / (unitRows * met * _blocking.DepthBlock)));
            _w.Open($"while (worker.Take({least}, {most}, out int {first}, out int {last}))");
        }

        /// <summary>What a worker packs for itself.</summary>
        private string Piece => ByStrips ? "strip" : "panel";

        private string Shared => ByStrips ? "panels" : "rows";

        /// <summary>The block of the shared operand that is being read.</summary>
        private string Packed => _blocking.DepthBlocks > 1 ? "packed" : _kernel.IsRightPacked && ByStrips ? _kernel.Operands[1].Name : Shared;

        private string StripStep => _depth == "depth" ? $"{_blocking.Height} * depth" : CodeWriter.Number((long)_blocking.Height * _blocking.DepthBlock);

        /// <summary>Pointers to what is packed together, and to the copy of the last rows.</summary>
        private void Memory(string shared)
        {
            if (_blocking.SharedElements > 0)
            {
                string place = _blocking.IsSharedInScratch ? Scratch(_blocking.OwnElements) : _blocking.PartialElements > 0 ? $"workspace + {_blocking.PartialElements}" : "workspace";
                _w.Line($"float* {shared} = {place};");
            }

            if (_blocking.PaddedElements > 0)
            {
                _w.Line($"float* padded = {Scratch(_blocking.ScratchElements - _blocking.PaddedElements)};");
            }
        }

        private static string Scratch(long offset) => offset == 0 ? "(float*)worker.Scratch" : $"(float*)worker.Scratch + {offset}";

        private string LeftAt(string strip)
        {
            KernelOperand left = _kernel.Operands[0];
            bool contracts = _kernel.Form == MatMulForm.TN;
            string at = contracts ? $"{strip} * {_blocking.Height}" : $"(long){strip} * {CodeWriter.Number((long)_blocking.Height * left.Access.RowStride)}";
            return $"{left.Name} + {at}{DepthOffset(contracts ? left.Access.RowStride : 1)}";
        }

        private string RightAt(string column, string block = "block")
        {
            KernelOperand right = _kernel.Operands[1];
            bool transposed = _kernel.Form == MatMulForm.NT;
            string at = column == "0" ? "" : transposed ? $" + (long){column} * {right.Access.RowStride}" : $" + {column}";
            return $"{right.Name}{at}{DepthOffset(transposed ? 1 : right.Access.RowStride, block)}";
        }

        private string DepthOffset(int stride, string block = "block") => _blocking.DepthBlocks == 1 || block == "0" ? "" : $" + (long){block} * {CodeWriter.Number((long)_blocking.DepthBlock * stride)}";

        private void PackLeft(string first, string last, string target)
            => _w.Line(Pack(_kernel.Form != MatMulForm.TN, LeftAt(first), _kernel.Operands[0].Access.RowStride, _depth, $"Math.Min({last} * {_blocking.Height}, {_rows}) - {first} * {_blocking.Height}", target, _blocking.Height, _blocking.Height));

        private void PackRight(string column, string count, string target)
            => _w.Line(Pack(_kernel.Form == MatMulForm.NT, RightAt(column), _kernel.Operands[1].Access.RowStride, _depth, count, target, _blocking.Width, _v.Lanes));

        private void PackShared()
        {
            if (_blocking.SharedElements == 0)
            {
                return;
            }

            string step = $"{(ByStrips ? _blocking.Width : _blocking.Height)} * {_depth}";
            bool alone = _blocking.IsSharedInScratch;
            if (!alone)
            {
                _w.Line($"worker.Range({(ByStrips ? CodeWriter.Number(_blocking.Panels) : _strips)}, 1, out int firstPacked, out int lastPacked);");
            }

            if (ByStrips)
            {
                if (alone)
                {
                    PackRight("0", CodeWriter.Number(_kernel.Columns), Packed);
                }
                else
                {
                    PackRight($"(firstPacked * {_blocking.Width})", $"Math.Min(lastPacked * {_blocking.Width}, {_kernel.Columns}) - firstPacked * {_blocking.Width}", $"{Packed} + (long)firstPacked * {step}");
                }
            }
            else if (alone)
            {
                _w.Line(Pack(_kernel.Form != MatMulForm.TN, _kernel.Operands[0].Name, _kernel.Operands[0].Access.RowStride, _depth, _rows, Packed, _blocking.Height, _blocking.Height));
            }
            else
            {
                PackLeft("firstPacked", "lastPacked", $"{Packed} + (long)firstPacked * {step}");
            }

            if (!alone)
            {
                _w.Line("worker.Barrier();");
            }
        }

        // Panels of a worker's own, each multiplied with all strips.
        private void Panels()
        {
            ForPanels("start", "end", "n", (column, vectors) =>
            {
                if (_kernel.IsRightPacked)
                {
                    _w.Line($"float* panel = {_kernel.Operands[1].Name} + (long){column} * {_kernel.Depth};");
                }
                else
                {
                    PackRight(column, ColumnCount(column, vectors), "panel");
                }

                // What fits the second-level cache is there already. A panel beyond the worker's own does no harm.
                bool fetches = !_kernel.IsRightPacked && _blocking.Panels > 1 && 4L * _kernel.Columns * _kernel.Depth > _kernel.Caches.L2;
                if (fetches)
                {
                    bool transposed = _kernel.Form == MatMulForm.NT;
                    _w.Line($"float* next = {RightAt($"({column} + {vectors * _v.Lanes})")};");
                    _w.Open($"for (int m = 0; m < {_strips}; m++)");
                    _w.Line($"Panels.Prefetch(next, {_kernel.Operands[1].Access.RowStride}, {(transposed ? CodeWriter.Number(_blocking.Width) : _depth)}, {(transposed ? _depth : CodeWriter.Number(_blocking.Width))}, m, {_strips});");
                }
                else
                {
                    _w.Open($"for (int m = 0; m < {_strips}; m++)");
                }

                Tile("m", StripAt, "panel", column, vectors);
                _w.Close();
            });
        }

        /// <summary>Panels that have all their columns: those that are packed ahead.</summary>
        private int WholePanels => _kernel.Columns / _blocking.Width;

        private string StripAt => $"{Packed} + (long)m * {StripStep}";

        // The same, where the tiles of a panel pack the one that the worker most likely takes next, be it of the next block.
        private void PanelsAhead()
        {
            (int width, int stride) = (_blocking.Width, _kernel.Operands[1].Access.RowStride);
            bool narrower = WholePanels < _blocking.Panels;
            string later = NeedsOrder ? "later" : "block";
            string Depth(string block) => _depth == "depth" && NeedsOrder ? $"Math.Min({_blocking.DepthBlock}, {_kernel.Depth} - {block} * {_blocking.DepthBlock})" : _depth;
            _w.Line($"worker.Share({_blocking.Panels}{(NeedsOrder ? $", {_blocking.DepthBlocks}" : "")});");
            _w.Open("while (worker.Take())");
            _w.Line($"int {(NeedsOrder ? "block = worker.Round, " : "")}n = worker.Unit * {width};");
            if (_depth == "depth" && NeedsOrder)
            {
                _w.Line($"int depth = {Depth("block")};");
            }

            if (narrower)
            {
                _w.Open($"if (n == {WholePanels * width})");
                PackRight("n", ColumnCount("n", _blocking.LastVectors), "panel");
                Panel(_blocking.LastVectors, every: null);
                _w.Line("continue;");
                _w.Close();
                _w.Line();
            }

            _w.Open("if (!worker.IsForeseen)");
            PackRight("n", CodeWriter.Number(width), "panel");
            _w.Close();
            _w.Line();
            _w.Line("// The panel that most likely follows is packed by the tiles of this one.");
            _w.Line($"bool follows = worker.Foresee({WholePanels}, out int following, out {(NeedsOrder ? "int later" : "_")});");
            _w.Line($"ahead.Begin({RightAt($"following * {width}", later)}, {stride}, follows ? {Depth(later)} : 0, next, {width});");
            Panel(_blocking.Vectors, _kernel.Rows.IsDynamic ? "every" : CodeWriter.Number(_blocking.StepsOfCopy(_blocking.Strips)));
            _w.Line();
            Swap();
            _w.Close();

            void Panel(int vectors, string? every)
            {
                _w.Open($"for (int m = 0; m < {_strips}; m++)");
                Tile("m", StripAt, "panel", "n", vectors, every);
                _w.Close();
            }
        }

        private void Swap() => _w.Line($"float* done = {Piece};").Line($"{Piece} = next;").Line("next = done;");

        // Strips of a worker's own, as many at a time as the second-level cache holds, multiplied with all panels.
        private void Strips()
        {
            bool isAhead = _blocking.PacksAhead;
            bool whole = !IsTaken && _blocking.BlockStrips >= _blocking.Strips;
            (string first, string last) = whole ? ("start", "end") : ("first", "last");
            int group = _blocking.BlockStrips * _blocking.Height;
            KernelOperand left = _kernel.Operands[0];
            if (isAhead)
            {
                int groups = (_blocking.Strips + _blocking.BlockStrips - 1) / _blocking.BlockStrips;
                int wholeGroups = _kernel.Rows.Maximum / group;
                _w.Line($"worker.Share({groups});");
                _w.Open("while (worker.Take())");
                _w.Line($"int first = worker.Unit * {_blocking.BlockStrips};");
                _w.Line(_blocking.Strips % _blocking.BlockStrips == 0 ? $"int last = first + {_blocking.BlockStrips};" : $"int last = Math.Min(first + {_blocking.BlockStrips}, {_strips});");
                _w.Open("if (!worker.IsForeseen)");
                string count = wholeGroups == groups ? CodeWriter.Number(group) : $"Math.Min({group}, {_rows} - first * {_blocking.Height})";
                _w.Line(Pack(false, LeftAt("first"), left.Access.RowStride, _depth, count, "strip", group, group));
                _w.Close();
                _w.Line();
                _w.Line("// The strips that most likely follow are packed by the tiles of these.");
                _w.Line($"bool follow = worker.Foresee({wholeGroups}, out int following, out _);");
                _w.Line($"ahead.Begin({LeftAt($"following * {_blocking.BlockStrips}")}, {left.Access.RowStride}, follow ? {_depth} : 0, next, {group});");
            }
            else
            {
                if (IsTaken)
                {
                    if (_blocking.DepthBlocks > 1)
                    {
                        _w.Line("bool isFirst = true;");
                    }

                    _w.Line($"worker.Share({_strips});");
                    OpenPieces(_blocking.Height, _blocking.BlockStrips, first, last);
                }
                else if (!whole)
                {
                    _w.Open($"for (int first = start; first < end; first += {_blocking.BlockStrips})");
                    _w.Line($"int last = Math.Min(first + {_blocking.BlockStrips}, end);");
                }

                if (!_blocking.IsLeftInPlace)
                {
                    PackLeft(first, last, "strip");
                }
            }

            ForPanels("0", CodeWriter.Number(_blocking.Panels), "n", (column, vectors) =>
            {
                _w.Line($"float* panel = {Packed} + (long){column} * {_depth};");
                if (_blocking.DepthBlocks > 1)
                {
                    // What this worker packs next comes from memory meanwhile, a share with each panel.
                    KernelOperand right = _kernel.Operands[1];
                    bool transposed = _kernel.Form == MatMulForm.NT;
                    string count = $"(lastPacked - firstPacked) * {_blocking.Width}";
                    string next = $"{RightAt($"(firstPacked * {_blocking.Width})")} + {CodeWriter.Number((long)_blocking.DepthBlock * (transposed ? 1 : right.Access.RowStride))}";
                    string call = $"Panels.Prefetch({next}, {right.Access.RowStride}, {(transposed ? count : _depth)}, {(transposed ? _depth : count)}, {column} / {_blocking.Width}, {_blocking.Panels});";
                    if (whole)
                    {
                        _w.Line(call);
                    }
                    else
                    {
                        _w.Open(IsTaken ? "if (isFirst)" : "if (first == start)").Line(call).Close();
                        _w.Line();
                    }
                }

                _w.Open($"for (int m = {first}; m < {last}; m++)");
                string strip = isAhead ? $"strip + (m - {first}) * {_blocking.Height}" : $"strip + (long)(m - {first}) * {StripStep}";
                Tile("m", strip, "panel", column, vectors, isAhead ? CodeWriter.Number(_blocking.StepsOfCopy(_blocking.Panels * _blocking.BlockStrips)) : null);
                _w.Close();
            });
            if (isAhead)
            {
                _w.Line();
                Swap();
            }
            else if (IsTaken && _blocking.DepthBlocks > 1)
            {
                _w.Line();
                _w.Line("isFirst = false;");
            }

            if (!whole)
            {
                _w.Close();
            }
        }

        // Columns of a worker's own: rows of the right operand, read where they lie, multiplied with panels of the left one's rows. What
        // comes out is the transpose, which is turned while it is in the first-level cache.
        private void Transposed()
        {
            (KernelOperand left, KernelOperand right) = (_kernel.Operands[0], _kernel.Operands[1]);
            int width = _blocking.Width;
            int group = _blocking.GroupStrips * _blocking.Height;
            bool dynamic = _kernel.Rows.IsDynamic;
            string depth = CodeWriter.Number(_kernel.Depth);
            string panels = dynamic ? "panels" : CodeWriter.Number(_blocking.Panels);
            _w.Line($"// The transpose is computed: rows of the tile are {right.Name}'s, read where they lie, and its columns are rows of {left.Name}.");
            if (dynamic)
            {
                _w.Line($"int panels = ({_rows} + {width - 1}) / {width};");
            }

            _w.Line($"float* transpose = stackalloc float[{group * width}];");
            _w.Line($"float* tile = stackalloc float[{group * width}];");
            Memory("rows");
            if (_blocking.IsSharedInScratch)
            {
                _w.Line(Pack(true, left.Name, left.Access.RowStride, depth, _rows, "rows", width, _v.Lanes));
            }
            else
            {
                _w.Line($"worker.Range({panels}, 1, out int firstPacked, out int lastPacked);");
                _w.Line(Pack(true, $"{left.Name} + (long)firstPacked * {CodeWriter.Number((long)width * left.Access.RowStride)}", left.Access.RowStride, depth, $"Math.Min(lastPacked * {width}, {_rows}) - firstPacked * {width}",
                    $"rows + (long)firstPacked * {CodeWriter.Number((long)width * _kernel.Depth)}", width, _v.Lanes));
                _w.Line("worker.Barrier();");
            }

            int block = _blocking.BlockStrips * _blocking.Height;
            bool whole = !IsTaken && block >= _kernel.Columns;
            if (IsTaken)
            {
                _w.Line($"worker.Share({(_kernel.Columns + group - 1) / group});");
                OpenPieces(group, block / group, "firstGroup", "lastGroup");
                _w.Line($"int first = firstGroup * {group};");
                _w.Line(_kernel.Columns % group == 0 ? $"int last = lastGroup * {group};" : $"int last = Math.Min(lastGroup * {group}, {_kernel.Columns});");
            }
            else
            {
                Text.Range(_w, _kernel.IsSerial, CodeWriter.Number(_kernel.Columns), group);
            }

            if (!IsTaken && !whole)
            {
                _w.Open($"for (int first = start; first < end; first += {block})");
                _w.Line($"int last = Math.Min(first + {block}, end);");
            }

            ForPanels("0", panels, "row", (row, vectors) =>
            {
                int lanes = vectors * _v.Lanes;
                string height = dynamic ? "height" : vectors < _blocking.Vectors || _blocking.Panels == 1 ? CodeWriter.Number(_kernel.Rows.Maximum - ((_blocking.Panels - 1) * width))
                    : _kernel.Rows.Maximum % width == 0 || _blocking.LastVectors < _blocking.Vectors ? CodeWriter.Number(width) : $"Math.Min({width}, {_rows} - {row})";
                _w.Line($"float* panel = rows + (long){row} * {depth};");
                string count = CodeWriter.Number(lanes);
                if (dynamic)
                {
                    _w.Line($"int height = Math.Min({width}, {_rows} - {row});");
                    if (_blocking.Vectors > 1)
                    {
                        count = "lanes";
                        _w.Line($"int lanes = (height + {_v.Lanes - 1}) / {_v.Lanes} * {_v.Lanes};");
                    }
                }

                _w.Open($"for (int column = {(whole ? "start" : "first")}; column < {(whole ? "end" : "last")}; column += {group})");
                _w.Line($"float* a = {right.Name} + (long)column * {right.Access.RowStride};");
                (string step, string columns) = (CodeWriter.Number(right.Access.RowStride), CodeWriter.Number(group));
                if (_blocking.PaddedElements > 0)
                {
                    columns = "columns";
                    _w.Line($"int columns = Math.Min({group}, {(whole ? "end" : "last")} - column);");
                    step = PadRows(right.Access.RowStride, $"columns < {group}", "columns", depth, group);
                }

                PrefetchEpilogue(row, height, "column", columns);
                if (count != "lanes")
                {
                    if (FetchesRows && vectors == _blocking.Vectors)
                    {
                        _w.Open("if (p == 0)");
                        Group(vectors, step, fetches: true);
                        _w.Close();
                        _w.Open("else");
                        Group(vectors, step);
                        _w.Close();
                        _w.Line();
                    }
                    else
                    {
                        Group(vectors, step);
                    }
                }
                else
                {
                    for (int v = vectors; v >= 1; v--)
                    {
                        _w.Open(v == vectors ? $"if (lanes == {lanes})" : v > 1 ? $"else if (lanes == {v * _v.Lanes})" : "else");
                        Group(v, step);
                        _w.Close();
                    }

                    _w.Line();
                }

                _w.Line($"Panels.PackPanelsTransposed(transpose, {count}, {count}, {columns}, tile, {group}, {_v.Lanes});");
                _w.Line(EpilogueCall("tile", row, height, "column", columns));
                _w.Close();
            });
            if (!whole)
            {
                _w.Close();
            }

            void Group(int vectors, string step, bool fetches = false)
            {
                PanelTile tile = new(_v, _blocking.Height, vectors, Adds: false, StripStep: 0, AheadVectors: 0, fetches);
                string? ahead = fetches ? CodeWriter.Number((long)FetchedRows * right.Access.RowStride) : null;
                int lanes = vectors * _v.Lanes;
                if (_blocking.GroupStrips > MostUnrolledStrips)
                {
                    int height = _blocking.Height;
                    _w.Open($"for (int i = 0; i < {group}; i += {height})");
                    _w.Line(tile.Call(_code, $"a + (long)i * {step}, {step}", "panel", $"transpose + i * {lanes}", CodeWriter.Number(lanes), depth, ahead));
                    _w.Close();
                    _w.Line();
                    return;
                }

                for (int i = 0; i < _blocking.GroupStrips; i++)
                {
                    int at = i * _blocking.Height;
                    string offset = i == 0 ? "" : step == "step" ? $" + {at}L * step" : $" + {CodeWriter.Number((long)at * right.Access.RowStride)}";
                    _w.Line(tile.Call(_code, $"a{offset}, {step}", "panel", i == 0 ? "transpose" : $"transpose + {at * lanes}", CodeWriter.Number(lanes), depth, ahead));
                }
            }
        }

        /// <summary>How many rows ahead of a tile's own rows others are asked for.</summary>
        private int FetchedRows => 2 * _blocking.Height;

        /// <summary>
        /// Whether the first panel's tiles ask for the weights that come next: those from beyond the second-level cache, which holds the
        /// panel beside them.
        /// </summary>
        private bool FetchesRows => !_kernel.Rows.IsDynamic && !_kernel.IsSerial && _blocking.Panels > 1 && 4L * _kernel.Columns * _kernel.Depth > _kernel.Caches.L2
            && 4L * _kernel.Depth * (_blocking.Width + _blocking.Height + FetchedRows) <= _kernel.Caches.L2 / 2;

        // The last rows of an operand that is read in place are copied, with zeros for those that a tile would read beyond them. The
        // answer is what the rows then lie apart.
        private string PadRows(int stride, string condition, string rows, string depth, int height)
        {
            string step = CodeWriter.Number(stride);
            bool differs = step != depth;
            if (differs)
            {
                _w.Line($"int step = {step};");
            }

            _w.Open($"if ({condition})");
            _w.Line($"Panels.PadRows(a, {step}, {rows}, {depth}, padded, {height});");
            _w.Line("a = padded;");
            if (differs)
            {
                _w.Line($"step = {depth};");
            }

            _w.Close();
            _w.Line();
            return differs ? "step" : step;
        }

        /// <summary>Whole panels in a loop, and a last one that has fewer vectors.</summary>
        private void ForPanels(string start, string end, string at, Action<string, int> body)
        {
            bool dynamic = _blocking.Division == MatMulDivision.Transposed && _kernel.Rows.IsDynamic;
            bool narrower = _blocking.LastVectors < _blocking.Vectors && !dynamic;
            int whole = narrower ? _blocking.Panels - 1 : _blocking.Panels;
            bool all = start == "0";
            bool taken = !all && IsTaken;
            if (taken)
            {
                // The last worker opens its share before it turns to the narrower panel, so that others may help it.
                _w.Line($"worker.Share({whole});");
            }

            if (!taken && whole > 0)
            {
                bool literal = all && !dynamic;
                _w.Open($"for (int p = {start}; p < {(literal ? CodeWriter.Number(whole) : narrower ? $"Math.Min({end}, {whole})" : end)}; p++)");
                Whole("p");
            }

            if (narrower)
            {
                _w.Open(all ? "" : taken ? "if (worker.Index == worker.Count - 1)" : $"if (end == {_blocking.Panels}{(_kernel.IsSerial ? "" : " && start < end")})");
                _w.Line($"const int {at} = {whole * _blocking.Width};");
                body(at, _blocking.LastVectors);
                _w.Close();
            }

            if (taken && whole > 0)
            {
                _w.Open("while (worker.Take())");
                Whole("worker.Unit");
            }

            void Whole(string panel)
            {
                _w.Line($"int {at} = {panel} * {_blocking.Width};");
                body(at, _blocking.Vectors);
                _w.Close();
            }
        }

        /// <summary>
        /// Multiplies a strip and a panel, and runs the epilogue where that ends the contraction; with a number of steps, rows of what is
        /// multiplied next are copied meanwhile.
        /// </summary>
        private void Tile(string m, string strip, string panel, string column, int vectors, string? every = null)
        {
            int height = _blocking.Height;
            int width = vectors * _v.Lanes;
            int blocks = _blocking.DepthBlocks;
            int stripStep = _blocking.IsLeftInPlace ? 0 : ByStrips && _blocking.PacksAhead ? _blocking.BlockStrips * height : height;
            int aheadVectors = every is null ? 0 : ByStrips ? _blocking.BlockStrips * height / _v.Lanes : _blocking.Vectors;
            PanelTile tile = new(_v, height, vectors, Adds: false, stripStep, aheadVectors);
            int rest = _kernel.Rows.Maximum % height;
            string rows = rest == 0 && !_kernel.Rows.IsDynamic ? CodeWriter.Number(height) : "height";
            _w.Line($"int row = {m} * {height};");
            if (rows == "height")
            {
                _w.Line($"int height = Math.Min({height}, {_rows} - row);");
            }

            string left = strip;
            if (_blocking.IsLeftInPlace)
            {
                KernelOperand operand = _kernel.Operands[0];
                left = $"{operand.Name} + (long)row * {operand.Access.RowStride}{DepthOffset(1)}, {operand.Access.RowStride}";
                if (_blocking.PaddedElements > 0)
                {
                    _w.Line($"float* a = {operand.Name} + (long)row * {operand.Access.RowStride}{DepthOffset(1)};");
                    left = $"a, {PadRows(operand.Access.RowStride, $"height < {height}", "height", _depth, height)}";
                }
            }

            string columns = ColumnCount(column, vectors);
            void Multiply(PanelTile tile, string left, string result, string stride)
                => _w.Line(tile.Call(_code, left, panel, result, stride, _depth, every is null ? null : $"&ahead, {every}"));

            if (blocks > 1)
            {
                if (EpilogueReads.Any())
                {
                    _w.Open($"if (block == {blocks - 1})");
                    PrefetchEpilogue("row", rows, column, columns);
                    _w.Close();
                    _w.Line();
                }

                // Sums of the blocks before wait in the workspace, each tile in a place of its own.
                long tileSize = (long)height * _blocking.Width;
                _w.Line($"float* sums = workspace + ({m} * {_blocking.Panels}L + {column} / {_blocking.Width}) * {tileSize};");
                _w.Open("if (block == 0)");
                Multiply(tile, left, "sums", CodeWriter.Number(width));
                _w.Close();
                _w.Open("else");
                Multiply(tile with { Adds = true }, left, "sums", CodeWriter.Number(width));
                _w.Close();
                _w.Line();
                _w.Open($"if (block == {blocks - 1})").Line(EpilogueCall("sums", "row", rows, column, columns)).Close();
                return;
            }

            if (columns == CodeWriter.Number(width) && IsPlain)
            {
                // What needs no epilogue goes from the registers to its place.
                Store store = _kernel.Stores[0];
                KernelOperand target = _kernel.Operands[store.Operand];
                string result = $"{target.Name} + (long)row * {target.Access.RowStride} + {column}";
                string stride = CodeWriter.Number(target.Access.RowStride);
                if (rows == "height")
                {
                    _w.Open($"if (height == {height})");
                }

                if (store.Mode == StoreMode.AddWhenAccumulating)
                {
                    _w.Open("if (accumulate)");
                    Multiply(tile with { Adds = true }, left, result, stride);
                    _w.Close();
                    _w.Open("else");
                    Multiply(tile, left, result, stride);
                    _w.Close();
                }
                else
                {
                    Multiply(tile with { Adds = store.Mode == StoreMode.Add }, left, result, stride);
                }

                if (rows != "height")
                {
                    return;
                }

                _w.Line();
                _w.Line("continue;").Close();
                _w.Line();
            }

            PrefetchEpilogue("row", rows, column, columns);
            Multiply(tile, left, "tile", CodeWriter.Number(width));
            _w.Line(EpilogueCall("tile", "row", rows, column, columns));
        }

        /// <summary>Matrices that the epilogue reads, and that are too large to lie in the second-level cache still.</summary>
        private IEnumerable<KernelOperand> EpilogueReads
            => _kernel.Operands.Skip(2).Where(o => !o.IsWritten && o.Access is { Kind: AccessKind.Element, Period: 0 } && 4L * _kernel.Rows.Maximum * _kernel.Columns > _kernel.Caches.L2);

        // They come from memory while the tile multiplies.
        private void PrefetchEpilogue(string row, string rows, string column, string columns)
        {
            foreach (KernelOperand operand in EpilogueReads)
            {
                _w.Line($"Panels.PrefetchTile({operand.Name} + (long){row} * {operand.Access.RowStride} + {column}, {operand.Access.RowStride}, {rows}, {columns});");
            }
        }

        /// <summary>Whether nothing but the product is stored.</summary>
        private bool IsPlain => _kernel.Stores.Count == 1 && _kernel.Stores[0].Value is AccumulatorExpr && _kernel.Operands[_kernel.Stores[0].Operand].Access is { Kind: AccessKind.Element, Period: 0 };

        private bool HasRaggedRows => _kernel.Rows.IsDynamic || _kernel.Rows.Maximum % _blocking.Height != 0;

        /// <summary>The columns of the panel at <paramref name="column"/>: fewer than it is wide only in the last one.</summary>
        private string ColumnCount(string column, int vectors)
        {
            int last = _kernel.Columns - ((_blocking.Panels - 1) * _blocking.Width);
            return vectors < _blocking.Vectors || _blocking.Panels == 1 ? CodeWriter.Number(last)
                : _blocking.LastVectors < _blocking.Vectors || last == _blocking.Width ? CodeWriter.Number(_blocking.Width)
                : $"Math.Min({_blocking.Width}, {_kernel.Columns} - {column})";
        }

        private string EpilogueCall(string tile, string row, string rows, string column, string columns)
            => MatMulEmitter.EpilogueCall(_name, _kernel, _v, tile, row, rows, column, columns);
    }

    private static void Epilogue(CodeWriter w, MatMulKernel kernel, Spelling v)
    {
        w.Open("for (int r = row; r < row + rows; r++)");
        foreach (KernelOperand operand in kernel.Operands.Skip(2))
        {
            if (operand.Access.Kind == AccessKind.Element)
            {
                string r = operand.Access.Period > 0 ? $"(r % {operand.Access.Period})" : "r";
                w.Line($"float* {operand.Name}_r = {operand.Name} + (long){r} * {operand.Access.RowStride};");
            }
        }

        var scalars = new Dictionary<Expr, string>();
        var broadcasts = new Dictionary<Expr, string>();
        var leaves = new TileLeaves(kernel, v);
        var setup = new ExprEmitter(w, v, leaves, "", scalars, broadcasts);
        foreach (Store store in kernel.Stores)
        {
            setup.Hoist(store.Value);
        }

        // Rows of the tile lie as far from each other as its panel is wide.
        bool ragged = kernel.Columns % v.Lanes != 0;
        w.Line("int j = 0;");
        w.Open($"for (; j <= columns - {v.Lanes}; j += {v.Lanes})");
        Block("(column + j)", "tile + j", null);
        w.Close();
        if (ragged)
        {
            w.Open("if (j < columns)");
            Block("(column + j)", "tile + j", "columns - j");
            w.Line($"j += {v.Lanes};");
            w.Close();
        }

        w.Line();
        w.Line("tile += j;");
        w.Close();

        void Block(string column, string accumulator, string? tail)
        {
            leaves.Column = column;
            leaves.Tail = tail;
            leaves.Accumulator = v.Load(accumulator);
            var emitter = new ExprEmitter(w, v, leaves, "e", scalars, broadcasts);
            foreach (Store store in kernel.Stores)
            {
                emitter.Count(store.Value);
            }

            foreach (Store store in kernel.Stores)
            {
                KernelOperand target = kernel.Operands[store.Operand];
                Text.VectorStore(w, v, emitter.Vector(store.Value), $"{target.Name}_r + {column}", tail, store.Mode);
            }
        }
    }

    private sealed class TileLeaves(MatMulKernel kernel, Spelling v) : IExprLeaves
    {
        public string Column { get; set; } = "";

        public string? Tail { get; set; }

        public string Accumulator { get; set; } = "";

        public string Columns => $"({v.Broadcast($"(float){Column}")} + Simd.Lanes{v.Bits})";

        public string Elements => $"{v.Class}.Create((uint)(r * {kernel.Columns} + {Column})) + Vector{v.Bits}<uint>.Indices";

        public bool VariesByColumn(int operand) => kernel.Operands[operand].Access.Kind is AccessKind.Element or AccessKind.ColumnVector;

        public string Scalar(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            return o.Access.Kind == AccessKind.Scalar ? $"{o.Name}[0]" : $"{o.Name}[(long){(o.Access.Period > 0 ? $"(r % {o.Access.Period})" : "r")} * {o.Access.RowStride}]";
        }

        public string Vector(OperandExpr operand)
        {
            KernelOperand o = kernel.Operands[operand.Operand];
            string pointer = (o.Access.Kind == AccessKind.Element ? $"{o.Name}_r" : o.Name) + " + " + Column;
            return Tail is null ? v.Load(pointer) : v.LoadTail(pointer, Tail);
        }
    }
}
