using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Matrix products. Both operands are packed: strips of the left one's rows and panels of the right one's columns, which the
/// register tile reads from end to end; the epilogue runs on the tile while it is in the first-level cache. How the work is
/// cut and divided is <see cref="MatMulBlocking"/>'s choice. A single row is multiplied by dot products instead, at the
/// speed of memory.
/// </summary>
internal static class MatMulEmitter
{
    /// <summary>Dot products of one call of the epilogue: a vector of the widest kind, and what workers divide.</summary>
    private const int DotBlock = 16;

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
            code.ForEachWidth((w, name, v) => DotProducts(w, name, kernel, v));
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
            if (_kernel.Rows.IsDynamic)
            {
                _w.Line($"int strips = ({_rows} + {_blocking.Height - 1}) / {_blocking.Height};");
            }

            bool blocks = _blocking.DepthBlocks > 1;
            _w.Line($"float* tile = stackalloc float[{_blocking.Height * _blocking.Width}];");
            bool ownsScratch = _blocking.OwnElements > 0;
            if (ownsScratch)
            {
                _w.Line($"float* {(_blocking.ByRows ? "strip" : "panel")} = (float*)worker.Scratch;");
            }

            if (_blocking.SharedElements > 0)
            {
                string place = _blocking.IsSharedInScratch ? $"(float*)worker.Scratch + {_blocking.OwnElements}" : _blocking.PartialElements > 0 ? $"workspace + {_blocking.PartialElements}" : "workspace";
                _w.Line($"float* {Shared} = {place};");
            }

            _w.Line(_kernel.IsSerial ? $"{(_blocking.ByRows && _kernel.Rows.IsDynamic ? "" : "const ")}int start = 0, end = {(_blocking.ByRows ? _strips : CodeWriter.Number(_blocking.Panels))};"
                : $"worker.Range({(_blocking.ByRows ? _strips : CodeWriter.Number(_blocking.Panels))}, 1, out int start, out int end);");
            if (blocks)
            {
                _w.Open($"for (int block = 0; block < {_blocking.DepthBlocks}; block++)");
                if (_depth == "depth")
                {
                    _w.Line($"int depth = Math.Min({_blocking.DepthBlock}, {_kernel.Depth} - block * {_blocking.DepthBlock});");
                }

                _w.Line($"float* {Packed} = {Shared} + (block & 1) * {CodeWriter.Number(_blocking.SharedElements)}L;");
            }

            PackShared();
            if (_blocking.ByRows)
            {
                Rows();
            }
            else
            {
                Columns();
            }

            if (blocks)
            {
                _w.Close();
            }
        }

        private string Shared => _blocking.ByRows ? "panels" : "rows";

        /// <summary>The block of the shared operand that is being read.</summary>
        private string Packed => _blocking.DepthBlocks > 1 ? "packed" : _kernel.IsRightPacked && _blocking.ByRows ? _kernel.Operands[1].Name : Shared;

        private string LeftAt(string strip)
        {
            KernelOperand left = _kernel.Operands[0];
            bool contracts = _kernel.Form == MatMulForm.TN;
            string at = contracts ? $"{strip} * {_blocking.Height}" : $"(long){strip} * {CodeWriter.Number((long)_blocking.Height * left.Access.RowStride)}";
            return $"{left.Name} + {at}{DepthOffset(contracts ? left.Access.RowStride : 1)}";
        }

        private string RightAt(string column)
        {
            KernelOperand right = _kernel.Operands[1];
            bool transposed = _kernel.Form == MatMulForm.NT;
            string at = column == "0" ? "" : transposed ? $" + (long){column} * {right.Access.RowStride}" : $" + {column}";
            return $"{right.Name}{at}{DepthOffset(transposed ? 1 : right.Access.RowStride)}";
        }

        private string DepthOffset(int stride) => _blocking.DepthBlocks == 1 ? "" : $" + (long)block * {CodeWriter.Number((long)_blocking.DepthBlock * stride)}";

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

            string step = $"{(_blocking.ByRows ? _blocking.Width : _blocking.Height)} * {_depth}";
            bool alone = _blocking.IsSharedInScratch;
            if (!alone)
            {
                _w.Line($"worker.Range({(_blocking.ByRows ? CodeWriter.Number(_blocking.Panels) : _strips)}, 1, out int firstPacked, out int lastPacked);");
            }

            if (_blocking.ByRows)
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
        private void Columns()
        {
            ForPanels("start", "end", (column, vectors) =>
            {
                string panel = "panel";
                if (_kernel.IsRightPacked)
                {
                    _w.Line($"float* panel = {_kernel.Operands[1].Name} + (long){column} * {_kernel.Depth};");
                }
                else
                {
                    PackRight(column, ColumnCount(column, vectors), panel);
                }

                // A panel beyond the worker's own does no harm.
                bool fetches = !_kernel.IsRightPacked && !_kernel.IsSerial && _blocking.Panels > 1;
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

                Tile("m", $"{Packed} + (long)m * {StripStep}", panel, column, vectors);
                _w.Close();
            });
        }

        // Strips of a worker's own, as many at a time as the second-level cache holds, multiplied with all panels.
        private void Rows()
        {
            bool whole = _blocking.BlockStrips >= _blocking.Strips;
            string first = whole ? "start" : "first";
            string last = whole ? "end" : "last";
            if (!whole)
            {
                _w.Open($"for (int first = start; first < end; first += {_blocking.BlockStrips})");
                _w.Line($"int last = Math.Min(first + {_blocking.BlockStrips}, end);");
            }

            PackLeft(first, last, "strip");
            ForPanels("0", CodeWriter.Number(_blocking.Panels), (column, vectors) =>
            {
                _w.Line($"float* panel = {Packed} + (long){column} * {_depth};");
                _w.Open($"for (int m = {first}; m < {last}; m++)");
                Tile("m", $"strip + (long)(m - {first}) * {StripStep}", "panel", column, vectors);
                _w.Close();
            });
            if (!whole)
            {
                _w.Close();
            }
        }

        private string StripStep => _depth == "depth" ? $"{_blocking.Height} * depth" : CodeWriter.Number((long)_blocking.Height * _blocking.DepthBlock);

        /// <summary>Whole panels in a loop, and a last one that has fewer vectors.</summary>
        private void ForPanels(string start, string end, Action<string, int> body)
        {
            bool narrower = _blocking.LastVectors < _blocking.Vectors;
            int whole = narrower ? _blocking.Panels - 1 : _blocking.Panels;
            if (whole > 0)
            {
                bool literal = start == "0";
                _w.Open($"for (int p = {start}; p < {(literal ? CodeWriter.Number(whole) : narrower ? $"Math.Min({end}, {whole})" : end)}; p++)");
                _w.Line($"int n = p * {_blocking.Width};");
                body("n", _blocking.Vectors);
                _w.Close();
            }

            if (narrower)
            {
                _w.Open(start == "0" ? "" : $"if (end == {_blocking.Panels}{(_kernel.IsSerial ? "" : " && start < end")})");
                _w.Line($"const int n = {whole * _blocking.Width};");
                body("n", _blocking.LastVectors);
                _w.Close();
            }
        }

        /// <summary>Multiplies a strip and a panel, and runs the epilogue where that ends the contraction.</summary>
        private void Tile(string m, string strip, string panel, string column, int vectors)
        {
            int height = _blocking.Height;
            int width = vectors * _v.Lanes;
            int blocks = _blocking.DepthBlocks;
            PanelTile tile = new(_v, height, height, vectors, Adds: false);
            int rest = _kernel.Rows.Maximum % height;
            string rows = rest == 0 && !_kernel.Rows.IsDynamic ? CodeWriter.Number(height) : "height";
            _w.Line($"int row = {m} * {height};");
            if (rows == "height")
            {
                _w.Line($"int height = Math.Min({height}, {_rows} - row);");
            }

            string columns = ColumnCount(column, vectors);
            string depth = _depth;
            if (blocks > 1)
            {
                // Sums of the blocks before wait in the workspace, each tile in a place of its own.
                long tileSize = (long)height * _blocking.Width;
                _w.Line($"float* sums = workspace + ({m} * {_blocking.Panels}L + {column} / {_blocking.Width}) * {tileSize};");
                _w.Open("if (block == 0)").Line(tile.Call(_code, strip, panel, "sums", CodeWriter.Number(width), depth)).Close();
                _w.Open("else").Line((tile with { Adds = true }).Call(_code, strip, panel, "sums", CodeWriter.Number(width), depth)).Close();
                _w.Line();
                _w.Open($"if (block == {blocks - 1})").Line(EpilogueCall("sums", rows, column, columns)).Close();
                return;
            }

            if (DirectTarget(columns == CodeWriter.Number(width)) is { } direct)
            {
                // What needs no epilogue goes from the registers to its place.
                string[] conditions = [.. rows == "height" ? new[] { $"height == {height}" } : [], .. _kernel.Stores[0].Mode == StoreMode.AddWhenAccumulating ? new[] { "!accumulate" } : []];
                string call = tile.Call(_code, strip, panel, $"{direct.Name} + (long)row * {direct.Access.RowStride} + {column}", CodeWriter.Number(direct.Access.RowStride), depth);
                if (conditions.Length == 0)
                {
                    _w.Line(call);
                    return;
                }

                _w.Open($"if ({string.Join(" && ", conditions)})").Line(call).Line("continue;").Close();
                _w.Line();
            }

            _w.Line(tile.Call(_code, strip, panel, "tile", CodeWriter.Number(width), depth));
            _w.Line(EpilogueCall("tile", rows, column, columns));
        }

        private KernelOperand? DirectTarget(bool wholePanels)
            => wholePanels && _kernel.Stores.Count == 1 && _kernel.Stores[0] is { Value: AccumulatorExpr, Mode: not StoreMode.Add } store && _kernel.Operands[store.Operand].Access is { Kind: AccessKind.Element, Period: 0 }
                ? _kernel.Operands[store.Operand] : null;

        /// <summary>The columns of the panel at <paramref name="column"/>: fewer than it is wide only in the last one.</summary>
        private string ColumnCount(string column, int vectors)
        {
            int last = _kernel.Columns - ((_blocking.Panels - 1) * _blocking.Width);
            return vectors < _blocking.Vectors || _blocking.Panels == 1 ? CodeWriter.Number(last)
                : _blocking.LastVectors < _blocking.Vectors || last == _blocking.Width ? CodeWriter.Number(_blocking.Width)
                : $"Math.Min({_blocking.Width}, {_kernel.Columns} - {column})";
        }

        private string EpilogueCall(string tile, string rows, string column, string columns)
            => $"{_name($"Epilogue_{_v.Bits}")}({tile}{Pointers(_kernel, declared: false)}{string.Join("", Arguments.Names(Arguments.Of(_kernel.Stores)).Select(n => ", " + n))}, row, {rows}, {column}, {columns});";
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

    // One row: every output is a dot product of the row and a row of the weight, four of them at a time, whose sums the
    // epilogue then takes as a tile of one row.
    private static void DotProducts(CodeWriter w, Func<string, string> name, MatMulKernel kernel, Spelling width)
    {
        KernelOperand input = kernel.Operands[0];
        KernelOperand weight = kernel.Operands[1];

        // A row shorter than a vector is read in narrower ones.
        Spelling v = Spelling.All.FirstOrDefault(s => s.Bits <= width.Bits && s.Lanes <= kernel.Depth) ?? Spelling.All[Spelling.All.Length - 1];
        int vectors = kernel.Depth / v.Lanes;
        int tail = kernel.Depth % v.Lanes;
        int ways = vectors >= 2 ? 2 : 1;

        // What no cache holds comes from memory in time only if it is asked for early: further on in a long row, else in the next four.
        long ahead = weight.Access.RowStride > 1024 ? 512 : 4L * weight.Access.RowStride;
        bool fetches = 4L * kernel.Columns * kernel.Depth > kernel.Caches.L2;
        Text.Range(w, kernel.IsSerial, CodeWriter.Number(kernel.Columns), DotBlock);
        w.Line($"float* sums = stackalloc float[{DotBlock}];");
        w.Open($"for (int column = start; column < end; column += {DotBlock})");
        w.Line($"int columns = Math.Min({DotBlock}, end - column);");
        w.Line($"float* w0 = {weight.Name} + (long)column * {weight.Access.RowStride};");
        w.Line("int n = 0;");
        foreach (int rows in kernel.Columns % 4 == 0 ? new[] { 4 } : [4, 1])
        {
            w.Open(rows == 1 ? "for (; n < columns; n++)" : $"for (; n <= columns - {rows}; n += {rows})");
            for (int i = 1; i < rows; i++)
            {
                w.Line($"float* w{i} = w{i - 1} + {weight.Access.RowStride};");
            }

            for (int i = 0; i < rows; i++)
            {
                w.Line($"{v.Type} {string.Join(", ", Enumerable.Range(0, ways).Select(k => $"d{i}_{k} = {v.Type}.Zero"))};");
            }

            int loops = vectors / ways;
            if (loops > 0)
            {
                w.Line();
                w.Open(loops == 1 ? "" : $"for (int k = 0; k < {loops * ways * v.Lanes}; k += {ways * v.Lanes})");
                for (int k = 0; k < ways; k++)
                {
                    string at = loops == 1 ? CodeWriter.Number(k * v.Lanes) : k == 0 ? "k" : $"k + {k * v.Lanes}";
                    w.Line($"{v.Type} x{k} = {v.Load($"{input.Name} + {at}")};");
                    for (int i = 0; i < rows; i++)
                    {
                        if (fetches && (k * v.Lanes) % 16 == 0)
                        {
                            w.Line($"Simd.Prefetch(w{i} + {CodeWriter.Number(ahead)} + {at});");
                        }

                        w.Line($"d{i}_{k} = {v.MultiplyAdd($"x{k}", v.Load($"w{i} + {at}"), $"d{i}_{k}")};");
                    }
                }

                w.Close();
            }

            for (int k = vectors / ways * ways * v.Lanes; k < vectors * v.Lanes; k += v.Lanes)
            {
                Single(CodeWriter.Number(k), null);
            }

            if (tail > 0)
            {
                Single(CodeWriter.Number(vectors * v.Lanes), CodeWriter.Number(tail));
            }

            w.Line();
            string Sum(int i) => ways == 1 ? $"d{i}_0" : $"d{i}_0 + d{i}_1";
            w.Line(rows == 1 ? $"sums[n] = Simd.Sum({Sum(0)});" : $"Vector128.Store(Simd.Sums({string.Join(", ", Enumerable.Range(0, rows).Select(Sum))}), sums + n);");
            w.Line(rows == 1 ? $"w0 += {weight.Access.RowStride};" : $"w0 = w{rows - 1} + {weight.Access.RowStride};");
            w.Close();

            void Single(string at, string? count)
            {
                string Read(string pointer) => count is null ? v.Load($"{pointer} + {at}") : v.LoadTail($"{pointer} + {at}", count);
                w.Open("");
                w.Line($"{v.Type} x = {Read(input.Name)};");
                for (int i = 0; i < rows; i++)
                {
                    w.Line($"d{i}_0 = {v.MultiplyAdd("x", Read($"w{i}"), $"d{i}_0")};");
                }

                w.Close();
            }
        }

        w.Line();
        w.Line($"{name($"Epilogue_{width.Bits}")}(sums{Pointers(kernel, declared: false)}{string.Join("", Arguments.Names(Arguments.Of(kernel.Stores)).Select(n => ", " + n))}, 0, 1, column, columns);");
        w.Close();
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
