using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>
/// A vector of single-precision numbers whose width is a type argument: kernels are written once, and the compiler makes of them one
/// version for each of <see cref="F512"/>, <see cref="F256"/> and <see cref="F128"/>, in which <see cref="Lanes"/> is a constant and every member a few
/// instructions.
/// </summary>
/// <remarks>
/// A comparison gives a mask: all bits of a lane where it holds, none elsewhere. Members that are only arithmetic round as
/// IEEE 754 says; those of <see cref="VectorMath"/> give the same bits at every width, and so does <see cref="MultiplyAdd"/>.
/// </remarks>
/// <typeparam name="TSelf">The vector itself.</typeparam>
[EditorBrowsable(EditorBrowsableState.Never)]
public unsafe interface IVector<TSelf>
    where TSelf : struct, IVector<TSelf>
{
    /// <summary>The numbers that a vector holds: 16, 8 or 4.</summary>
    static abstract int Lanes { get; }

    /// <summary>A vector of zeros.</summary>
    static abstract TSelf Zero { get; }

    /// <summary>The lanes' own numbers: 0, 1, 2, …</summary>
    static abstract TSelf Indices { get; }

    /// <summary>A number in every lane.</summary>
    static abstract TSelf Create(float value);

    /// <summary>The numbers from <paramref name="p"/> on; no alignment is asked for.</summary>
    static abstract TSelf Load(float* p);

    /// <summary>The first <paramref name="count"/> numbers (0 to <see cref="Lanes"/>) from <paramref name="p"/> on, and zeros; nothing beyond them is read.</summary>
    static abstract TSelf LoadTail(float* p, int count);

    /// <summary>16-bit floats of IEEE 754 from <paramref name="p"/> on; the largest exponent, which stands for no number, is read as if it were one more.</summary>
    static abstract TSelf LoadF16(ushort* p);

    /// <summary>As <see cref="LoadF16"/>, each times 2^−112: what a product multiplies with an input that makes up for it has one multiplication less.</summary>
    static abstract TSelf LoadSmallF16(ushort* p);

    /// <summary>Upper halves of 32-bit floats from <paramref name="p"/> on.</summary>
    static abstract TSelf LoadBF16(ushort* p);

    /// <summary>As <see cref="LoadF16"/>, the first <paramref name="count"/> numbers, and zeros; nothing beyond them is read.</summary>
    static abstract TSelf LoadF16Tail(ushort* p, int count);

    /// <summary>As <see cref="LoadSmallF16"/>, the first <paramref name="count"/> numbers, and zeros; nothing beyond them is read.</summary>
    static abstract TSelf LoadSmallF16Tail(ushort* p, int count);

    /// <summary>As <see cref="LoadBF16"/>, the first <paramref name="count"/> numbers, and zeros; nothing beyond them is read.</summary>
    static abstract TSelf LoadBF16Tail(ushort* p, int count);

    /// <summary>Writes all lanes from <paramref name="p"/> on; no alignment is asked for.</summary>
    static abstract void Store(TSelf v, float* p);

    /// <summary>Writes the first <paramref name="count"/> lanes (0 to <see cref="Lanes"/>) from <paramref name="p"/> on, and nothing beyond them.</summary>
    static abstract void StoreTail(TSelf v, float* p, int count);

    /// <summary>The numbers that lie <paramref name="stride"/> elements apart from <paramref name="p"/> on, read one by one.</summary>
    static abstract TSelf LoadStrided(float* p, nint stride);

    /// <summary>As <see cref="LoadStrided"/>, the first <paramref name="count"/> numbers, and zeros.</summary>
    static abstract TSelf LoadStridedTail(float* p, nint stride, int count);

    /// <summary>Writes the lanes <paramref name="stride"/> elements apart from <paramref name="p"/> on, one by one.</summary>
    static abstract void StoreStrided(TSelf v, float* p, nint stride);

    /// <summary>As <see cref="StoreStrided"/>, the first <paramref name="count"/> lanes.</summary>
    static abstract void StoreStridedTail(TSelf v, float* p, nint stride, int count);

    /// <summary>Keeps the first <paramref name="count"/> lanes and sets the others to <paramref name="fill"/>.</summary>
    static abstract TSelf FirstLanes(TSelf v, int count, float fill);

    /// <summary>The lanes' sums.</summary>
    static abstract TSelf operator +(TSelf a, TSelf b);

    /// <summary>The lanes' differences.</summary>
    static abstract TSelf operator -(TSelf a, TSelf b);

    /// <summary>The lanes' products.</summary>
    static abstract TSelf operator *(TSelf a, TSelf b);

    /// <summary>The lanes' quotients.</summary>
    static abstract TSelf operator /(TSelf a, TSelf b);

    /// <summary>The lanes with the other sign.</summary>
    static abstract TSelf operator -(TSelf v);

    /// <summary>The bits that both have.</summary>
    static abstract TSelf operator &(TSelf a, TSelf b);

    /// <summary>The bits that either has.</summary>
    static abstract TSelf operator |(TSelf a, TSelf b);

    /// <summary>The bits in which they differ.</summary>
    static abstract TSelf operator ^(TSelf a, TSelf b);

    /// <summary><paramref name="a"/> · <paramref name="b"/> + <paramref name="c"/>, fused where the processor can.</summary>
    static abstract TSelf MultiplyAdd(TSelf a, TSelf b, TSelf c);

    /// <summary>The square roots.</summary>
    static abstract TSelf Sqrt(TSelf v);

    /// <summary>The larger of each pair of lanes; NaN where one is NaN.</summary>
    static abstract TSelf Max(TSelf a, TSelf b);

    /// <summary>The smaller of each pair of lanes; NaN where one is NaN.</summary>
    static abstract TSelf Min(TSelf a, TSelf b);

    /// <summary>The larger of each pair of lanes in one instruction; where one is NaN, that or the other one.</summary>
    static abstract TSelf MaxNative(TSelf a, TSelf b);

    /// <summary>The smaller of each pair of lanes in one instruction; where one is NaN, that or the other one.</summary>
    static abstract TSelf MinNative(TSelf a, TSelf b);

    /// <summary>Where lanes are equal.</summary>
    static abstract TSelf Equal(TSelf a, TSelf b);

    /// <summary>Where <paramref name="a"/>'s lane is the smaller one.</summary>
    static abstract TSelf LessThan(TSelf a, TSelf b);

    /// <summary>Where <paramref name="a"/>'s lane is the larger one.</summary>
    static abstract TSelf GreaterThan(TSelf a, TSelf b);

    /// <summary>Where <paramref name="a"/>'s lane is not the smaller one.</summary>
    static abstract TSelf GreaterThanOrEqual(TSelf a, TSelf b);

    /// <summary>The lanes of <paramref name="then"/> where the mask has bits, those of <paramref name="otherwise"/> elsewhere.</summary>
    static abstract TSelf Select(TSelf mask, TSelf then, TSelf otherwise);

    /// <inheritdoc cref="VectorMath.Exp(float)"/>
    static abstract TSelf Exp(TSelf x);

    /// <inheritdoc cref="VectorMath.Log(float)"/>
    static abstract TSelf Log(TSelf x);

    /// <inheritdoc cref="VectorMath.Tanh(float)"/>
    static abstract TSelf Tanh(TSelf x);

    /// <inheritdoc cref="VectorMath.Sigmoid(float)"/>
    static abstract TSelf Sigmoid(TSelf x);

    /// <inheritdoc cref="VectorMath.Erf(float)"/>
    static abstract TSelf Erf(TSelf x);

    /// <summary>For each 128 bits, the sums of those lanes of four vectors.</summary>
    /// <param name="a">The first vector.</param>
    /// <param name="b">The second.</param>
    /// <param name="c">The third.</param>
    /// <param name="d">The last.</param>
    static abstract TSelf PartialSums(TSelf a, TSelf b, TSelf c, TSelf d);

    /// <summary>Stores the lane sums of four vectors, each added in the order of <see cref="Sum(TSelf)"/>.</summary>
    /// <param name="a">The first vector.</param>
    /// <param name="b">The second.</param>
    /// <param name="c">The third.</param>
    /// <param name="d">The last.</param>
    /// <param name="p">Where the four sums go.</param>
    static abstract void StoreSums(TSelf a, TSelf b, TSelf c, TSelf d, float* p);

    /// <summary>Stores the lane sums of sixteen vectors, from the <see cref="PartialSums"/> of four times four: those of the first of each four, then of the second, and so on.</summary>
    /// <param name="a">The partial sums of the first four.</param>
    /// <param name="b">Of the second.</param>
    /// <param name="c">Of the third.</param>
    /// <param name="d">Of the last.</param>
    /// <param name="p">Where the sums of the first of each four go.</param>
    /// <param name="stride">Elements from there to where those of the second go.</param>
    static abstract void StoreSums(TSelf a, TSelf b, TSelf c, TSelf d, float* p, long stride);

    /// <summary>The sum of the lanes in a fixed order: halves are added until one lane is left.</summary>
    static abstract float Sum(TSelf v);

    /// <summary>The largest lane; NaN where one is NaN.</summary>
    static abstract float Max(TSelf v);

    /// <summary>The largest lane, in a quarter of the time; where one is NaN, that or another one.</summary>
    static abstract float MaxNative(TSelf v);

    /// <summary>The uniform numbers whose counters are <paramref name="counter"/> and the following ones (<see cref="Simd.Uniform(uint, uint, uint)"/>).</summary>
    static abstract TSelf Uniform(uint counter, uint key0, uint key1);
}
