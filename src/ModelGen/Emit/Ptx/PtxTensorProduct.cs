using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// A matrix product on tensor cores. A block of threads has a tile of the result, and each of its warps a part of that as 16 x 8 pieces in registers.
/// Both factors pass through a ring of stages in shared memory, as they lie in global memory: those in tf32 are copied there past the registers and
/// rounded where they are used, those in bf16 are copied where they are stored so, and rounded on their way otherwise. The chunks of 16 bytes of a row change places with the row, so that
/// what a warp reads at once lies in different banks. At last the sums pass through shared memory, a warp's 16 rows at a time, so that the
/// epilogue is written once and its threads touch neighbouring elements.
/// </summary>
internal sealed class PtxTensorProduct
{
    private const int ChunkBytes = 16;

    // Elements of a factor that a thread moves at a time, and what they are in global memory.
    private const int Piece = 4;
    private const int WordBytes = 4;

    // Of the result, what one instruction computes.
    private const int MmaRows = 16;
    private const int MmaColumns = 8;

    private readonly PtxWriter _w;
    private readonly PtxKernel _k;
    private readonly MatMulKernel _kernel;
    private readonly TensorTile _tile;
    private readonly bool _isTf32;
    private readonly bool _isStochastic;
    private readonly Action<string, string, string> _epilogue;
    private readonly string _thread;
    private readonly string _lane;
    private readonly string _warpRow;
    private readonly string _warpColumn;

    private PtxTensorProduct(PtxWriter w, PtxKernel k, MatMulKernel kernel, TensorTiles plan, Action<string, string, string> epilogue)
    {
        (_w, _k, _kernel, _tile, _isTf32, _epilogue) = (w, k, kernel, plan.Tile, plan.Precision == CudaPrecision.TF32, epilogue);
        _isStochastic = plan.Rounding == CudaRounding.Stochastic && !_isTf32;
        _thread = w.Special("%tid.x");
        _lane = w.Once("and.b32", _thread, "31");
        string warp = w.Once("shr.u32", _thread, "5");
        int across = _tile.Columns / _tile.WarpColumns;
        _warpRow = w.Once("mul.lo.s32", w.Once("shr.u32", warp, PtxWriter.Int(Log2(across))), PtxWriter.Int(_tile.WarpRows));
        _warpColumn = w.Once("mul.lo.s32", w.Once("and.b32", warp, PtxWriter.Int(across - 1)), PtxWriter.Int(_tile.WarpColumns));
    }

    /// <summary>Emits a product.</summary>
    /// <param name="w">Where instructions go.</param>
    /// <param name="k">The kernel's addresses and counts.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="plan">What the device does for it.</param>
    /// <param name="epilogue">What is done with a sum, given its row, its column and itself.</param>
    public static void Emit(PtxWriter w, PtxKernel k, MatMulKernel kernel, TensorTiles plan, Action<string, string, string> epilogue)
        => new PtxTensorProduct(w, k, kernel, plan, epilogue).Emit(plan);

    // Of the contracted extent, what one instruction multiplies: two chunks.
    private int MmaDepth => 2 * ChunkElements;

    private int ElementBytes => _isTf32 ? 4 : 2;

    private int ChunkElements => ChunkBytes / ElementBytes;

    private void Emit(TensorTiles plan)
    {
        (int across, int down) = plan.Blocks(_kernel);
        (string rowTile, string columnTile) = PtxTiles.Place(_w, _w.Special("%ctaid.x"), _w.Special("%ctaid.y"), across, down, plan.Height);
        string firstRow = _w.Op("mul.lo.s32", rowTile, PtxWriter.Int(_tile.Rows)), firstColumn = _w.Op("mul.lo.s32", columnTile, PtxWriter.Int(_tile.Columns));
        string rows = _k.Extent(_kernel.Rows), columns = PtxWriter.Int(_kernel.Columns);
        _w.Line($"@{_w.Op("setp.ge.s32", firstRow, rows)} bra {PtxWriter.Exit};");
        int stageBytes = (_tile.Rows + _tile.Columns) * _tile.Depth * ElementBytes;
        string shared = _w.Shared("tiles", Math.Max(_tile.Stages * stageBytes, EpilogueBytes * _tile.Threads / 32) / WordBytes);
        var left = new Factor(this, 0, _kernel.Form != MatMulForm.TN, _tile.Rows, plan.LeftVector, shared, 0, firstRow, rows, _warpRow);
        var right = new Factor(this, 1, _kernel.Form == MatMulForm.NT, _tile.Columns, plan.RightVector, shared, _tile.Rows * _tile.Depth * ElementBytes, firstColumn, columns, _warpColumn);
        string[,][] sums = new string[_tile.WarpRows / MmaRows, _tile.WarpColumns / MmaColumns][];
        for (int i = 0; i < sums.GetLength(0); i++)
        {
            for (int j = 0; j < sums.GetLength(1); j++)
            {
                sums[i, j] = [.. Enumerable.Range(0, 4).Select(_ => Zero())];
            }
        }

        // The stage that is filled is ahead of the one that is read by all but one: the loop begins with turns that fill only, and ends with
        // turns that read only.
        bool copies = left.IsCopied || right.IsCopied;
        int ahead = _tile.Stages - 1, turns = ((_kernel.Depth + _tile.Depth - 1) / _tile.Depth) + ahead;
        string fill = _w.Op("mov.u32", "0"), read = _w.Op("mov.u32", "0");
        _w.For("0", PtxWriter.Int(turns * _tile.Depth), PtxWriter.Int(_tile.Depth), from =>
        {
            string reads = _w.Op("setp.ge.s32", from, PtxWriter.Int(ahead * _tile.Depth)), fills = _w.Op("setp.lt.s32", from, PtxWriter.Int(_kernel.Depth));
            _w.If(reads, () =>
            {
                if (copies)
                {
                    _w.Line(FormattableString.Invariant($"cp.async.wait_group {ahead - 1};"));
                }

                _w.Barrier();
            });
            _w.If(fills, () =>
            {
                string remaining = _w.Op("sub.s32", PtxWriter.Int(_kernel.Depth), from);
                left.Fetch(fill, from, remaining);
                right.Fetch(fill, from, remaining);
            });
            if (copies)
            {
                _w.Line("cp.async.commit_group;");
            }

            _w.If(reads, () =>
            {
                Multiply(left, right, read, sums);
                Advance(read, stageBytes);
            });
            Factor[] passing = [.. new[] { left, right }.Where(factor => !factor.IsCopied)];
            if (passing.Length > 0)
            {
                _w.If(fills, () =>
                {
                    foreach (Factor factor in passing)
                    {
                        factor.Round(fill);
                    }
                });
            }

            Advance(fill, stageBytes);
        });
        _w.Barrier();
        Finish(sums, shared, firstRow, rows, firstColumn, columns);
    }

    private string Zero()
    {
        string register = _w.Register('f');
        _w.Set(register, "mov.f32", PtxWriter.Float(0));
        return register;
    }

    /// <summary>Goes on to the next stage of the ring.</summary>
    private void Advance(string stage, int stageBytes)
    {
        _w.Set(stage, "add.s32", stage, PtxWriter.Int(stageBytes));
        _w.Set(stage, "selp.b32", "0", stage, _w.Op("setp.eq.s32", stage, PtxWriter.Int(stageBytes * _tile.Stages)));
    }

    /// <summary>Adds the product of what a stage holds of both factors.</summary>
    private void Multiply(Factor left, Factor right, string stage, string[,][] sums)
    {
        left.Begin(stage);
        right.Begin(stage);
        for (int step = 0; step < _tile.Depth / MmaDepth; step++)
        {
            string[][] a = [.. Enumerable.Range(0, sums.GetLength(0)).Select(i => left.Rows16(step, i))];
            string[][] b = [.. Enumerable.Range(0, sums.GetLength(1) / 2).SelectMany(j => right.Columns16(step, j))];
            for (int i = 0; i < a.Length; i++)
            {
                for (int j = 0; j < b.Length; j++)
                {
                    string sum = Vector(sums[i, j]);
                    _w.Line($"mma.sync.aligned.{(_isTf32 ? "m16n8k8.row.col.f32.tf32.tf32.f32" : "m16n8k16.row.col.f32.bf16.bf16.f32")} {sum}, {Vector(a[i])}, {Vector(b[j])}, {sum};");
                }
            }
        }
    }

    // A warp's words between its rows, so that what a quarter of its threads store at once lies in different banks.
    private int EpiloguePitch => _tile.WarpColumns + 8;

    private int EpilogueBytes => MmaRows * EpiloguePitch * WordBytes;

    private void Finish(string[,][] sums, string shared, string firstRow, string rows, string firstColumn, string columns)
    {
        string own = _w.Op("mad.lo.s32", _w.Op("shr.u32", _thread, "5"), PtxWriter.Int(EpilogueBytes), shared);
        string slot = _w.Op("mad.lo.s32", _w.Op("shr.u32", _lane, "2"), PtxWriter.Int(EpiloguePitch * WordBytes), _w.Op("mad.lo.s32", _w.Op("and.b32", _lane, "3"), "8", own));
        string warpRow = _w.Op("add.s32", firstRow, _warpRow), warpColumn = _w.Op("add.s32", firstColumn, _warpColumn);
        int pieces = sums.GetLength(0);
        if (pieces == 1)
        {
            Write(0);
            Rows("0");
            return;
        }

        // Registers have no index: each turn picks its sums by a jump, and what follows is there once.
        _w.For("0", PtxWriter.Int(pieces), "1", piece =>
        {
            for (int i = 0; i < pieces; i++)
            {
                int each = i;
                _w.If(_w.Op("setp.eq.s32", piece, PtxWriter.Int(i)), () => Write(each));
            }

            Rows(piece);
            _w.Line("bar.warp.sync -1;");
        });

        void Write(int piece)
        {
            for (int j = 0; j < sums.GetLength(1); j++)
            {
                string[] sum = sums[piece, j];
                _w.Line(FormattableString.Invariant($"st.shared.v2.f32 [{slot}+{j * MmaColumns * WordBytes}], {Vector(sum[0], sum[1])};"));
                _w.Line(FormattableString.Invariant($"st.shared.v2.f32 [{slot}+{((8 * EpiloguePitch) + (j * MmaColumns)) * WordBytes}], {Vector(sum[2], sum[3])};"));
            }
        }

        void Rows(string piece)
        {
            _w.Line("bar.warp.sync -1;");
            _w.For(_lane, PtxWriter.Int(MmaRows * _tile.WarpColumns), "32", element =>
            {
                string r = _w.Op("shr.u32", element, PtxWriter.Int(Log2(_tile.WarpColumns))), c = _w.Op("and.b32", element, PtxWriter.Int(_tile.WarpColumns - 1));
                string row = _w.Op("add.s32", warpRow, piece == "0" ? r : _w.Op("mad.lo.s32", piece, PtxWriter.Int(MmaRows), r)), column = _w.Op("add.s32", warpColumn, c);
                _w.If(_w.Op("and.pred", _w.Op("setp.lt.s32", row, rows), _w.Op("setp.lt.s32", column, columns)), () =>
                {
                    string word = _w.Op("mad.lo.s32", r, PtxWriter.Int(EpiloguePitch * WordBytes), _w.Op("mad.lo.s32", c, PtxWriter.Int(WordBytes), own));
                    _epilogue(row, column, _w.Op("ld.shared.f32", $"[{word}]"));
                });
            });
        }
    }

    private static string Vector(params string[] registers) => "{" + string.Join(", ", registers) + "}";

    private static int Log2(int power)
    {
        int log = 0;
        for (; 1 << log < power; log++)
        {
        }

        return 1 << log == power ? log : throw new GraphException($"{power} is no power of two");
    }

    /// <summary>One of both factors: from global memory into a stage, and from there to the tensor cores.</summary>
    private sealed class Factor
    {
        private readonly PtxTensorProduct _product;
        private readonly PtxWriter _w;

        // Whether a row of it, in memory as in a stage, is along the contracted extent; otherwise it is across.
        private readonly bool _isAlong;
        private readonly int _vector;
        private readonly int _stride;
        private readonly int _rowBytes;
        private readonly int _chunks;

        // Of the pieces that a thread moves, the rows from one to the next.
        private readonly int _step;
        private readonly int _count;
        private readonly string _source;
        private readonly string _target;

        // Whether what a thread moves is there at all: by its row or by its place in the row, whichever is not along the contracted extent.
        private readonly string?[] _isThere;

        // Where a thread's pieces lie along the contracted extent, from the beginning of the stage; null where the extent is a multiple of it.
        private readonly string[]? _depths;
        private readonly string[][] _pieces;

        // Of a factor that lies packed: its words, and of blocks the scale and where numbers lie in their bytes.
        private readonly PtxPacked? _packed;
        private readonly string[][] _words = [];
        private readonly string _place = "";
        private readonly string _depth = "";
        private string? _shift;

        // Where rounding draws: the place of a thread's first element in the operand, and what tells one operand's draws, and one run's, from another's.
        private readonly string _index = "";
        private readonly string _seed = "";
        private readonly string[] _places;
        private string[] _stage = [];

        public Factor(PtxTensorProduct product, int operand, bool isAlong, int across, int vector, string shared, int offset, string first, string limit, string warp)
        {
            (_product, _w, _isAlong, _vector) = (product, product._w, isAlong, vector);
            TensorTile tile = product._tile;
            (int rows, int columns) = isAlong ? (across, tile.Depth) : (tile.Depth, across);
            int perRow = columns / Piece;
            _stride = product._kernel.Operands[operand].Access.RowStride;
            _rowBytes = columns * product.ElementBytes;
            _chunks = columns / product.ChunkElements;
            _step = tile.Threads / perRow;
            _count = rows / _step;
            if (_step % 8 != 0 || _count * _step != rows)
            {
                throw new GraphException($"{tile} cannot be moved by {tile.Threads} threads");
            }

            string row = _w.Op("shr.u32", product._thread, PtxWriter.Int(Log2(perRow))), column = _w.Op("mul.lo.s32", _w.Op("and.b32", product._thread, PtxWriter.Int(perRow - 1)), PtxWriter.Int(Piece));
            (string depth, string outer) = isAlong ? (column, row) : (row, column);
            string place = _w.Op("add.s32", first, outer);
            string element = isAlong ? _w.Op("mad.lo.s32", place, PtxWriter.Int(_stride), depth) : _w.Op("mad.lo.s32", depth, PtxWriter.Int(_stride), place);
            if (!product._kernel.Operands[operand].Access.Format.IsPlain)
            {
                (_packed, _place, _depth) = (new PtxPacked(_w, product._k, operand), place, depth);
                _words = [.. Enumerable.Range(0, IsCopied ? 0 : _count).Select(_ => Enumerable.Range(0, _packed.IsInBlocks ? 2 : Piece / Math.Min(vector, 2)).Select(_ => _w.Register('r')).ToArray())];
            }

            _source = _packed is null ? product._k.Address(operand, element) : _packed.IsInBlocks ? "" : isAlong ? _packed.Half(place, depth) : _packed.Half(depth, place);
            if (product._isStochastic)
            {
                _index = _w.Op("mov.u32", element);
                _seed = PtxRounding.Seed(product._k, operand + 1);
            }

            string chunk = _w.Op("shr.u32", column, PtxWriter.Int(Log2(product.ChunkElements)));
            string within = _w.Op("mul.lo.s32", _w.Op("and.b32", column, PtxWriter.Int(product.ChunkElements - 1)), PtxWriter.Int(product.ElementBytes));
            _target = At(_w.Op("add.s32", _w.Op("add.s32", shared, PtxWriter.Int(offset)), within), row, chunk);
            int pieces = Piece / vector, outers = isAlong ? _count : pieces, outerStep = isAlong ? _step : vector;
            bool isWhole = int.TryParse(limit, out int literal) && literal % across == 0;
            _isThere = [.. Enumerable.Range(0, outers).Select(i => isWhole ? null : _w.Op("setp.lt.s32", i == 0 ? place : _w.Op("add.s32", place, PtxWriter.Int(i * outerStep)), limit))];
            _depths = product._kernel.Depth % tile.Depth == 0
                ? null
                : [.. Enumerable.Range(0, isAlong ? pieces : _count).Select(i => i == 0 ? depth : _w.Op("add.s32", depth, PtxWriter.Int(i * (isAlong ? vector : _step))))];
            _pieces = [.. Enumerable.Range(0, product._isTf32 || _packed is not null ? 0 : _count).Select(_ => new[] { _w.Register('f'), _w.Register('f'), _w.Register('f'), _w.Register('f') })];
            _places = [.. Places(operand, _w.Op("add.s32", shared, PtxWriter.Int(offset)), warp)];
        }

        /// <summary>Has a thread's pieces of the next stage come, from global memory to shared or to registers.</summary>
        public void Fetch(string stage, string from, string remaining)
        {
            if (_packed is not null)
            {
                FetchPacked(_packed, stage, from, remaining);
                return;
            }

            string target = _product._isTf32 ? _w.Op("add.s32", _target, stage) : "";
            string?[] reaches = [.. (_depths ?? []).Select(d => _w.Op("setp.lt.s32", d, remaining))];
            for (int i = 0; i < _count; i++)
            {
                for (int j = 0; j < Piece / _vector; j++)
                {
                    string? isThere = _isThere[_isAlong ? i : j], reach = reaches.Length == 0 ? null : reaches[_isAlong ? j : i];
                    string? guard = isThere is null ? reach : reach is null ? isThere : _w.Op("and.pred", isThere, reach);
                    long source = WordBytes * (((long)i * _step * _stride) + (j * _vector));
                    int bytes = _vector * WordBytes;
                    if (_product._isTf32)
                    {
                        // Nothing is read of what is not there, and zeros are written.
                        string size = guard is null ? PtxWriter.Int(bytes) : _w.Op("selp.b32", PtxWriter.Int(bytes), "0", guard);
                        _w.Line(FormattableString.Invariant($"cp.async.{(bytes == ChunkBytes ? "cg" : "ca")}.shared.global [{target}+{(i * _step * _rowBytes) + (j * bytes)}], [{_source}+{source}], {bytes}, {size};"));
                        continue;
                    }

                    string[] part = [.. _pieces[i].Skip(j * _vector).Take(_vector)];
                    if (guard is not null)
                    {
                        foreach (string register in part)
                        {
                            _w.Set(register, "mov.f32", PtxWriter.Float(0));
                        }
                    }

                    _w.Line(FormattableString.Invariant($"{(guard is null ? "" : $"@{guard} ")}ld.global.{(_vector == 1 ? $"f32 {part[0]}" : $"v{_vector}.f32 {Vector(part)}")}, [{_source}+{source}];"));
                }
            }

            long next = (long)_product._tile.Depth * (_isAlong ? 1 : _stride) * WordBytes;
            _w.Set(_source, "add.s64", _source, PtxWriter.Int(next));
        }

        /// <summary>Whether it is copied past the registers, being in memory what it is in shared memory; otherwise its pieces wait in registers.</summary>
        public bool IsCopied => _packed is null ? _product._isTf32 : _packed.IsBf16 && !_product._isTf32 && _vector > 1;

        private void FetchPacked(PtxPacked packed, string stage, string from, string remaining)
        {
            string target = IsCopied ? _w.Op("add.s32", _target, stage) : "";
            string?[] reaches = [.. (_depths ?? []).Select(d => _w.Op("setp.lt.s32", d, remaining))];
            string depth = packed.IsInBlocks ? _w.Op("add.s32", from, _depth) : "";
            _shift = packed.IsInBlocks ? packed.Shift(_isAlong ? depth : _place) : null;
            for (int i = 0; i < _count; i++)
            {
                int loads = packed.IsInBlocks ? 1 : Piece / _vector;
                (string word, string scale) = !packed.IsInBlocks ? ("", "")
                    : _isAlong ? packed.Place(i == 0 ? _place : _w.Op("add.s32", _place, PtxWriter.Int(i * _step)), depth) : packed.Place(i == 0 ? depth : _w.Op("add.s32", depth, PtxWriter.Int(i * _step)), _place);
                for (int j = 0; j < loads; j++)
                {
                    string? isThere = _isThere[_isAlong ? i : j], reach = reaches.Length == 0 ? null : reaches[_isAlong ? j : i];
                    string? guard = isThere is null ? reach : reach is null ? isThere : _w.Op("and.pred", isThere, reach);
                    if (IsCopied)
                    {
                        int bytes = 2 * _vector;
                        string size = guard is null ? PtxWriter.Int(bytes) : _w.Op("selp.b32", PtxWriter.Int(bytes), "0", guard);
                        _w.Line(FormattableString.Invariant($"cp.async.ca.shared.global [{target}+{(i * _step * _rowBytes) + (j * bytes)}], [{_source}+{2 * (((long)i * _step * _stride) + (j * _vector))}], {bytes}, {size};"));
                        continue;
                    }

                    string[] part = packed.IsInBlocks ? _words[i] : [.. _words[i].Skip(j * Math.Max(_vector / 2, 1)).Take(Math.Max(_vector / 2, 1))];
                    foreach (string register in guard is null ? [] : part)
                    {
                        _w.Set(register, "mov.u32", "0");
                    }

                    string when = guard is null ? "" : $"@{guard} ";
                    if (packed.IsInBlocks)
                    {
                        _w.Line($"{when}ld.global.u32 {part[0]}, [{word}];");
                        _w.Line($"{when}ld.global.u16 {part[1]}, [{scale}];");
                        continue;
                    }

                    long source = 2 * (((long)i * _step * _stride) + (j * _vector));
                    string load = _vector switch { 1 => "u16 " + part[0], 2 => "u32 " + part[0], _ => "v2.u32 " + Vector(part) };
                    _w.Line(FormattableString.Invariant($"{when}ld.global.{load}, [{_source}+{source}];"));
                }
            }

            if (!packed.IsInBlocks)
            {
                _w.Set(_source, "add.s64", _source, PtxWriter.Int(2L * _product._tile.Depth * (_isAlong ? 1 : _stride)));
            }
        }

        /// <summary>The numbers of a packed piece.</summary>
        private string[] Unpacked(PtxPacked packed, string[] words)
        {
            if (!packed.IsInBlocks)
            {
                return [.. words.SelectMany(word => words.Length == Piece ? [packed.Low(word)] : packed.Both(word))];
            }

            string scale = packed.Low(words[1]), numbers = _shift is null ? words[0] : _w.Op("shr.u32", words[0], _shift);
            return [.. packed.Bytes(numbers).Select(number => _w.Op("mul.rn.f32", number, scale))];
        }

        /// <summary>Rounds the pieces that have come to registers, and stores them; of those that are rounded where they are used it stores what was packed.</summary>
        public void Round(string stage)
        {
            string target = _w.Op("add.s32", _target, stage);
            for (int i = 0; i < _count; i++)
            {
                string low, high;
                string[] pieces = _packed is null ? _pieces[i] : Unpacked(_packed, _words[i]);
                if (_product._isTf32)
                {
                    string[] bits = [.. pieces.Select(number => _w.Op("mov.b32", number))];
                    _w.Line(FormattableString.Invariant($"st.shared.v4.b32 [{target}+{i * _step * _rowBytes}], {Vector(bits)};"));
                    continue;
                }

                if (_product._isStochastic)
                {
                    // A piece has two draws of 32 bits, 16 for each of its elements, whoever reads it: pieces begin at the same columns in every tile.
                    string place = i == 0 ? _index : _w.Op("add.s32", _index, PtxWriter.Int((long)i * _step * _stride));
                    string first = PtxRounding.Mixed(_w, _w.Op("xor.b32", place, _seed)), second = PtxRounding.Mixed(_w, _w.Op("add.s32", first, _seed));
                    (low, high) = (PtxRounding.Drawn(_w, pieces[0], pieces[1], first), PtxRounding.Drawn(_w, pieces[2], pieces[3], second));
                }
                else
                {
                    (low, high) = (_w.Op("cvt.rn.bf16x2.f32", pieces[1], pieces[0]), _w.Op("cvt.rn.bf16x2.f32", pieces[3], pieces[2]));
                }

                _w.Line(FormattableString.Invariant($"st.shared.v2.b32 [{target}+{i * _step * _rowBytes}], {Vector(low, high)};"));
            }

            if (_product._isStochastic)
            {
                _w.Set(_index, "add.s32", _index, PtxWriter.Int((long)_product._tile.Depth * (_isAlong ? 1 : _stride)));
            }
        }

        /// <summary>Begins to read a stage.</summary>
        public void Begin(string stage) => _stage = [.. _places.Select(place => _w.Op("add.s32", place, stage))];

        /// <summary>16 rows of the left factor.</summary>
        public string[] Rows16(int step, int piece)
        {
            if (_isAlong || !_product._isTf32)
            {
                return Matrices(step, piece);
            }

            return
            [
                Single(2 * piece, step, 0),
                Single((2 * piece) + 1, step, 0),
                Single(2 * piece, step, 4),
                Single((2 * piece) + 1, step, 4),
            ];
        }

        /// <summary>16 columns of the right factor, eight and eight.</summary>
        public string[][] Columns16(int step, int piece)
        {
            if (_isAlong || !_product._isTf32)
            {
                string[] both = Matrices(step, piece);
                return [[both[0], both[1]], [both[2], both[3]]];
            }

            return
            [
                [Single(2 * piece, step, 0), Single(2 * piece, step, 4)],
                [Single((2 * piece) + 1, step, 0), Single((2 * piece) + 1, step, 4)],
            ];
        }

        /// <summary>
        /// Where a thread begins to read, in the first stage. Along the contracted extent, that of each step, from which pieces are 16 rows apart.
        /// Across, that of each piece, or of each half of one where threads read for themselves, from which steps are as many rows apart.
        /// </summary>
        private IEnumerable<string> Places(int operand, string shared, string warp)
        {
            TensorTile tile = _product._tile;
            string lane = _product._lane, low = _w.Op("and.b32", lane, "7"), eighth = _w.Op("and.b32", _w.Op("shr.u32", lane, "3"), "1"), half = _w.Op("shr.u32", lane, "4");

            // Four matrices of 8 x 8, which eight lanes each have the addresses of, in the order of the registers of a factor: of the left one the second
            // eight rows come before the second half of the contracted extent, of the right one behind it.
            bool rowsFirst = operand == 0 == _isAlong;
            string row = rowsFirst ? _w.Op("and.b32", lane, "15") : _w.Op("mad.lo.s32", half, "8", low), second = rowsFirst ? half : eighth;
            if (_isAlong)
            {
                string begin = _w.Op("mad.lo.s32", warp, PtxWriter.Int(_rowBytes), shared);
                for (int step = 0; step < tile.Depth / _product.MmaDepth; step++)
                {
                    yield return At(begin, row, _w.Op("add.s32", second, PtxWriter.Int(2 * step)));
                }
            }
            else if (!_product._isTf32)
            {
                string chunk = _w.Op("add.s32", _w.Op("shr.u32", warp, PtxWriter.Int(Log2(_product.ChunkElements))), second);
                for (int piece = 0; piece < (operand == 0 ? tile.WarpRows : tile.WarpColumns) / 16; piece++)
                {
                    yield return At(shared, row, _w.Op("add.s32", chunk, PtxWriter.Int(2 * piece)));
                }
            }
            else
            {
                string depth = _w.Op("and.b32", lane, "3"), across = _w.Op("shr.u32", lane, "2");
                string chunk = _w.Op("shr.u32", _w.Op("add.s32", warp, across), "2"), begin = _w.Op("mad.lo.s32", _w.Op("and.b32", across, "3"), PtxWriter.Int(WordBytes), shared);
                for (int piece = 0; piece < (operand == 0 ? tile.WarpRows : tile.WarpColumns) / 8; piece++)
                {
                    yield return At(begin, depth, _w.Op("add.s32", chunk, PtxWriter.Int(2 * piece)));
                }
            }
        }

        /// <summary>The address of a chunk of a row. What a warp reads at once is that of eight rows, or of four and its neighbour where threads read for themselves.</summary>
        private string At(string begin, string row, string chunk)
        {
            string turn = _product._isTf32 && !_isAlong
                ? _w.Op("shl.b32", _w.Op("and.b32", row, "3"), "1")
                : _w.Op("and.b32", _chunks >= 8 ? row : _w.Op("shr.u32", row, PtxWriter.Int(Log2(8 / _chunks))), PtxWriter.Int(Math.Min(_chunks, 8) - 1));
            return _w.Op("mad.lo.s32", row, PtxWriter.Int(_rowBytes), _w.Op("mad.lo.s32", _w.Op("xor.b32", chunk, turn), PtxWriter.Int(ChunkBytes), begin));
        }

        private string[] Matrices(int step, int piece)
        {
            string[] words = [.. Enumerable.Range(0, 4).Select(_ => _w.Register('r'))];
            string place = _isAlong ? FormattableString.Invariant($"{_stage[step]}+{piece * 16 * _rowBytes}") : FormattableString.Invariant($"{_stage[piece]}+{step * _product.MmaDepth * _rowBytes}");
            _w.Line($"ldmatrix.sync.aligned.m8n8.x4{(_isAlong ? "" : ".trans")}.shared.b16 {Vector(words)}, [{place}];");
            return _product._isTf32 ? [.. words.Select(word => _w.Op("cvt.rna.tf32.f32", word))] : words;
        }

        private string Single(int place, int step, int further)
            => _w.Op("cvt.rna.tf32.f32", _w.Op("ld.shared.f32", FormattableString.Invariant($"[{_stage[place]}+{((step * _product.MmaDepth) + further) * _rowBytes}]")));
    }
}
