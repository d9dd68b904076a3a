namespace ModelGen.Plots;

/// <summary>Finds a place for each point's label beside it where it covers no other label and no point, as far as there is one.</summary>
internal sealed class LabelLayout
{
    public const float FontSize = 12;

    /// <summary>The mean width of a letter, in parts of the font's size.</summary>
    private const double LetterWidth = 0.58;

    private const double Margin = 0.08;

    private readonly (float X, float Y)[] _offsets;

    public LabelLayout(IReadOnlyList<MapPoint> points, int width, int height)
    {
        (double left, double right) = Padded(points.Min(point => point.X), points.Max(point => point.X));
        (Bottom, Top) = Padded(points.Min(point => point.Y), points.Max(point => point.Y));
        (Left, Right) = (left, right);
        var dots = new (double X, double Y)[points.Count];
        for (int i = 0; i < points.Count; i++)
            dots[i] = ((points[i].X - Left) / (Right - Left) * width, (Top - points[i].Y) / (Top - Bottom) * height);

        var placed = new List<Box>();
        _offsets = new (float, float)[points.Count];
        for (int i = 0; i < points.Count; i++)
        {
            if (points[i].Label.Length == 0)
                continue;
            double halfWidth = points[i].Label.Length * LetterWidth * FontSize / 2, halfHeight = FontSize * 0.6;
            (double X, double Y)[] candidates =
            [
                (halfWidth + 6, 0), (-halfWidth - 6, 0), (0, -halfHeight - 5), (0, halfHeight + 5),
                (halfWidth + 3, -halfHeight - 3), (halfWidth + 3, halfHeight + 3), (-halfWidth - 3, -halfHeight - 3), (-halfWidth - 3, halfHeight + 3),
            ];
            double least = double.PositiveInfinity;
            Box best = default;
            foreach ((double x, double y) in candidates)
            {
                var box = new Box(dots[i].X + x - halfWidth, dots[i].Y + y - halfHeight, 2 * halfWidth, 2 * halfHeight);
                double covered = box.Outside(width, height);
                foreach (Box other in placed)
                    covered += box.Overlap(other);
                for (int j = 0; j < dots.Length; j++)
                    covered += j == i ? 0 : 2 * box.Overlap(new Box(dots[j].X - 4, dots[j].Y - 4, 8, 8));
                if (covered < least - 1e-9)
                {
                    least = covered;
                    best = box;
                    _offsets[i] = ((float)x, (float)y);
                }
            }
            placed.Add(best);
        }
    }

    public double Left { get; }

    public double Right { get; }

    public double Bottom { get; }

    public double Top { get; }

    /// <summary>From a point to the middle of its label, in pixels to the right and down.</summary>
    public (float X, float Y) Offset(int point) => _offsets[point];

    private static (double Least, double Greatest) Padded(double least, double greatest)
    {
        double room = greatest > least ? Margin * (greatest - least) : 1;
        return (least - room, greatest + room);
    }

    private readonly record struct Box(double X, double Y, double Width, double Height)
    {
        public double Overlap(Box other) =>
            Math.Max(0, Math.Min(X + Width, other.X + other.Width) - Math.Max(X, other.X)) * Math.Max(0, Math.Min(Y + Height, other.Y + other.Height) - Math.Max(Y, other.Y));

        public double Outside(double width, double height) =>
            (Width * Height) - Overlap(new Box(0, 0, width, height));
    }
}
